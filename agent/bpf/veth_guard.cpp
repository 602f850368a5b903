// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/veth_guard.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <optional>

#include "agent/bpf/host_ends.hpp"
#include "agent/bpf/libbpf_log.hpp"
#include "agent/bpf/rtnetlink.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {
namespace {

// Our filter's place among others: first, so that nothing is forwarded that we would have dropped.
constexpr std::uint32_t kHandle = 1;
constexpr std::uint32_t kPriority = 1;
constexpr const char* kProgram = "weft_wire";

bpf_tc_hook hook_of(std::uint32_t device) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(device);
    hook.attach_point = BPF_TC_INGRESS;
    return hook;
}

bpf_tc_opts place() {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = kHandle;
    options.priority = kPriority;
    return options;
}

Result<std::uint32_t> program_id(int program) {
    bpf_prog_info info{};
    __u32 length = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &length) != 0) {
        return system_failure("asking the kernel about program {}", kProgram);
    }
    return info.id;
}

bool is_ours(std::uint32_t id) {
    const UniqueFd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    __u32 length = sizeof info;
    return program.valid() && bpf_obj_get_info_by_fd(program.get(), &info, &length) == 0 &&
           std::string_view(info.name) == kProgram;
}

// What is in our place on the device; nothing when the device, its hook or the filter is missing.
std::optional<std::uint32_t> attached_to(std::uint32_t device) {
    const LibbpfLog log;
    const bpf_tc_hook hook = hook_of(device);
    bpf_tc_opts options = place();
    return bpf_tc_query(&hook, &options) == 0 ? std::optional(options.prog_id) : std::nullopt;
}

Result<> attach(int program, std::uint32_t device) {
    const LibbpfLog log;
    bpf_tc_hook hook = hook_of(device);
    if (const int made = bpf_tc_hook_create(&hook); made != 0 && made != -EEXIST) {
        return failure(-made, "making the tc hook of device {}: {} ({})", device, std::strerror(-made), log.tail());
    }
    bpf_tc_opts options = place();
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    if (const int put = bpf_tc_attach(&hook, &options); put != 0) {
        return failure(-put, "attaching {} to device {}: {} ({})", kProgram, device, std::strerror(-put), log.tail());
    }
    return {};
}

Result<bool> detach(std::uint32_t device) {
    const auto id = attached_to(device);
    if (!id || !is_ours(*id)) {
        return false;
    }
    const LibbpfLog log;
    const bpf_tc_hook hook = hook_of(device);
    const bpf_tc_opts options = place();
    if (const int taken = bpf_tc_detach(&hook, &options); taken != 0 && taken != -ENOENT && taken != -ENODEV) {
        return failure(-taken, "detaching {} from device {}: {} ({})", kProgram, device, std::strerror(-taken),
                       log.tail());
    }
    return true;
}

Result<bool> has_filters(std::uint32_t device, std::uint32_t direction) {
    std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_GETTFILTER;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = 1;
    auto* about = static_cast<tcmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(tcmsg)));
    about->tcm_ifindex = static_cast<int>(device);
    about->tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction);
    bool any = false;
    WEFT_TRY(ask_rtnetlink(
        request,
        [](const nlmsghdr*, void* found) {
            *static_cast<bool*>(found) = true;
            return MNL_CB_OK;
        },
        &any));
    return any;
}

// The qdisc to which filters of both directions are attached: it goes when nobody else has one there.
Result<> remove_unused_hook(std::uint32_t device) {
    for (const std::uint32_t direction : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
        WEFT_ASSIGN(const bool used, has_filters(device, direction));
        if (used) {
            return {};
        }
    }
    const LibbpfLog log;
    bpf_tc_hook hook = hook_of(device);
    // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): both at once is how libbpf is asked for the qdisc
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    if (const int gone = bpf_tc_hook_destroy(&hook); gone != 0 && gone != -ENOENT && gone != -ENODEV) {
        return failure(-gone, "removing the tc hook of device {}: {} ({})", device, std::strerror(-gone), log.tail());
    }
    return {};
}

std::vector<std::uint32_t> devices_in(int map) {
    std::vector<std::uint32_t> found;
    std::uint32_t key = 0;
    for (int more = bpf_map_get_next_key(map, nullptr, &key); more == 0; more = bpf_map_get_next_key(map, &key, &key)) {
        found.push_back(key);
    }
    return found;
}

} // namespace

Result<> VethGuard::guard(int program, int devices, std::uint64_t cookie, const std::string& path, VethStats& stats) {
    WEFT_ASSIGN(const std::vector<std::uint32_t> ends, host_ends(path));
    for (const std::uint32_t device : ends) {
        // The entry first: without it the program lets everything pass.
        if (bpf_map_update_elem(devices, &device, &cookie, BPF_ANY) != 0) {
            return system_failure("noting which pod is behind device {}", device);
        }
        if (attached_to(device) != program_id_) {
            WEFT_TRY(attach(program, device));
            ++stats.attached;
        }
    }
    if (ends.empty() && named_.insert(cookie).second) {
        stats.unguarded.push_back(path);
    }
    guarded_[cookie] = ends;
    return {};
}

Result<> VethGuard::forget_unknown(int devices, VethStats& stats) {
    for (const std::uint32_t device : devices_in(devices)) {
        const bool known = std::ranges::any_of(
            guarded_, [&](const auto& pod) { return std::ranges::find(pod.second, device) != pod.second.end(); });
        if (known) {
            continue;
        }
        WEFT_ASSIGN(const bool detached, detach(device));
        stats.detached += detached ? 1 : 0;
        if (bpf_map_delete_elem(devices, &device) != 0 && errno != ENOENT) {
            return system_failure("forgetting device {}", device);
        }
    }
    return {};
}

VethStats VethGuard::apply(int program, int devices, const std::map<std::uint64_t, std::string>& pods) {
    VethStats stats;
    const auto id = program_id(program);
    if (!id) {
        stats.errors.push_back(id.error());
        return stats;
    }
    bool changed = *id != program_id_ || guarded_.empty();
    if (*id != program_id_) {
        program_id_ = *id;
        guarded_.clear();
    }
    changed |= std::erase_if(guarded_, [&](const auto& pod) { return !pods.contains(pod.first); }) > 0;
    std::erase_if(named_, [&](std::uint64_t cookie) { return !pods.contains(cookie); });
    bool complete = true;
    for (const auto& [cookie, path] : pods) {
        if (guarded_.contains(cookie)) {
            continue;
        }
        if (const auto done = guard(program, devices, cookie, path, stats); !done) {
            stats.errors.push_back(done.error());
            complete = false;
        }
    }
    if (changed && complete) { // else a device of a pod that failed would be taken for a stranger's
        if (const auto done = forget_unknown(devices, stats); !done) {
            stats.errors.push_back(done.error());
        }
    }
    return stats;
}

Result<> unguard_all(int devices) {
    for (const std::uint32_t device : devices_in(devices)) {
        WEFT_ASSIGN(const bool detached, detach(device));
        if (detached) {
            WEFT_TRY(remove_unused_hook(device));
        }
    }
    return {};
}

} // namespace weft::bpf
