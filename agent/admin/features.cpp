// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One small probe for each kernel feature, and the sentence that says what its lack costs.
#include "agent/admin/features.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include "weft/base/unique_fd.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace weft::admin {
namespace {

using State = KernelFeature::State;

// Present, absent, or not to be told (nullopt), with a word about it.
struct Finding {
    std::optional<bool> present;
    std::string detail;
};

Finding from_errno(int error, const char* what) {
    if (error == EPERM || error == EACCES) {
        return {std::nullopt, fmt::format("{}: not permitted; run as root to know", what)};
    }
    return {false, fmt::format("{}: {}", what, std::strerror(error))};
}

// First mount point of this file system type.
std::optional<std::string> mount_of(const std::string& type) {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream fields(line);
        std::string device, path, kind;
        if (fields >> device >> path >> kind && kind == type) {
            return path;
        }
    }
    return std::nullopt;
}

Finding mounted(const char* type) {
    const auto path = mount_of(type);
    return path ? Finding{true, "mounted at " + *path} : Finding{false, "not mounted"};
}

Finding kernel_btf() {
    if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) {
        return {true, "/sys/kernel/btf/vmlinux"};
    }
    return {false, "/sys/kernel/btf/vmlinux is missing"};
}

// The function is in the kernel's own type information and callable from BPF.
Finding kfunc(const char* name) {
    btf* types = btf__load_vmlinux_btf();
    if (types == nullptr) {
        return {std::nullopt, "kernel has no type information"};
    }
    const int id = btf__find_by_name_kind(types, name, BTF_KIND_FUNC);
    btf__free(types);
    return id > 0 ? Finding{true, name} : Finding{false, fmt::format("{} is not in this kernel", name)};
}

Finding program(bpf_prog_type type, const char* what) {
    const int found = libbpf_probe_bpf_prog_type(type, nullptr);
    if (found < 0) {
        return from_errno(-found, what);
    }
    // The probe cannot tell "not permitted" from "not there".
    if (found == 0 && ::geteuid() != 0) {
        return {std::nullopt, fmt::format("{}: run as root to know", what)};
    }
    return {found == 1, what};
}

Finding map(bpf_map_type type, const char* what) {
    const int found = libbpf_probe_bpf_map_type(type, nullptr);
    if (found < 0) {
        return from_errno(-found, what);
    }
    if (found == 0 && ::geteuid() != 0) {
        return {std::nullopt, fmt::format("{}: run as root to know", what)};
    }
    return {found == 1, what};
}

Finding netns_cookie() {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (!fd.valid() || ::getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
        return from_errno(errno, "SO_NETNS_COOKIE");
    }
    return {true, "SO_NETNS_COOKIE"};
}

// A TLS ULP can only be put on a connected socket; ENOTCONN says that the module is there.
Finding tls_ulp() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
        return from_errno(errno, "socket");
    }
    if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_ULP, "tls", 3) == 0 || errno == ENOTCONN) {
        return {true, "TCP_ULP tls"};
    }
    return {false, errno == ENOENT ? "the tls module is not available" : std::strerror(errno)};
}

Finding mptcp() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    return fd.valid() ? Finding{true, "IPPROTO_MPTCP"} : Finding{false, std::strerror(errno)};
}

Finding sctp() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP));
    return fd.valid() ? Finding{true, "IPPROTO_SCTP"} : Finding{false, std::strerror(errno)};
}

// Read from the build configuration where it is readable; there is no harmless way to try it on a living socket.
Finding kernel_option(const char* option) {
    utsname name{};
    (void)::uname(&name); // cannot fail with a valid pointer
    std::ifstream config(fmt::format("/boot/config-{}", name.release));
    if (config) {
        for (std::string line; std::getline(config, line);) {
            if (line == fmt::format("{}=y", option) || line == fmt::format("{}=m", option)) {
                return {true, line};
            }
        }
        return {false, fmt::format("{} is not set", option)};
    }
    if (std::FILE* pipe =
            ::access("/proc/config.gz", R_OK) == 0 ? ::popen("zcat /proc/config.gz 2>/dev/null", "re") : nullptr;
        pipe != nullptr) {
        Finding found{false, fmt::format("{} is not set", option)};
        char line[512];
        while (std::fgets(line, sizeof line, pipe) != nullptr) {
            std::string_view text(line);
            text = text.substr(0, text.find('\n'));
            if (text == fmt::format("{}=y", option) || text == fmt::format("{}=m", option)) {
                found = {true, std::string(text)};
            }
        }
        (void)::pclose(pipe); // what was read is all that matters
        return found;
    }
    return {std::nullopt, "the kernel's build configuration is not readable"};
}

Finding ring_wakeups() {
    return map(BPF_MAP_TYPE_RINGBUF, "ring buffer maps");
}

} // namespace

std::string kernel_release() {
    utsname name{};
    (void)::uname(&name); // cannot fail with a valid pointer
    return name.release;
}

std::vector<KernelFeature> probe_kernel() {
    libbpf_set_print(nullptr); // a probe that fails is an answer, not news
    std::vector<KernelFeature> out;
    auto add = [&](const char* name, bool required, Finding found, const char* cost) {
        const auto state = !found.present   ? State::kUnknown
                           : *found.present ? State::kPresent
                           : required       ? State::kMissingRequired
                                            : State::kMissingOptional;
        out.push_back({name, state, std::move(found.detail), state == State::kPresent ? "" : cost});
    };
    add("btf", true, kernel_btf(), "no BPF program can be loaded: use a kernel built with CONFIG_DEBUG_INFO_BTF");
    add("cgroup2", true, mounted("cgroup2"), "there is nothing to attach to: mount -t cgroup2 none /sys/fs/cgroup");
    add("bpffs", true, mounted("bpf"), "nothing survives a restart of the agent: mount -t bpf bpf /sys/fs/bpf");
    add("cgroup-connect", true,
        program(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "cgroup/connect, sendmsg, recvmsg, getpeername"),
        "Services and policy at connect cannot work: CONFIG_CGROUP_BPF");
    add("cgroup-skb", true, program(BPF_PROG_TYPE_CGROUP_SKB, "cgroup_skb"),
        "policy on packets cannot work: CONFIG_CGROUP_BPF");
    add("cgroup-sock", true, program(BPF_PROG_TYPE_CGROUP_SOCK, "cgroup/sock_create, sock_release"),
        "sockets cannot be tagged with their workload: CONFIG_CGROUP_BPF");
    add("sockops", true, program(BPF_PROG_TYPE_SOCK_OPS, "sockops"),
        "no flow events, counters or connection counts: CONFIG_CGROUP_BPF, CONFIG_INET");
    add("socket-storage", true, map(BPF_MAP_TYPE_SK_STORAGE, "socket storage"),
        "verdicts cannot be kept per socket: CONFIG_NET");
    add("lpm-trie", true, map(BPF_MAP_TYPE_LPM_TRIE, "prefix maps"),
        "ipBlock rules and port ranges cannot be looked up");
    add("netns-cookie", true, netns_cookie(), "workloads cannot be told apart: kernel 5.14 or newer");
    add("ring-buffer", true, ring_wakeups(), "no flow events: kernel 5.8 or newer");
    add("bpf-sock-destroy", false, kfunc("bpf_sock_destroy"),
        "UDP sockets of a vanished backend are destroyed by netlink, one namespace after the other: kernel 6.5 or "
        "newer is quicker");
    add("inet-diag-destroy", false, kernel_option("CONFIG_INET_DIAG_DESTROY"),
        "without bpf_sock_destroy as well, connected UDP sockets stay with a vanished backend until they are closed");
    add("tc-bpf", false, kernel_option("CONFIG_NET_CLS_BPF"),
        "what pods send from packet sockets is not judged (CONFIG_NET_SCH_INGRESS is needed as well)");
    add("sk-lookup", false, program(BPF_PROG_TYPE_SK_LOOKUP, "sk_lookup"),
        "mutual TLS cannot take over incoming connections");
    add("tls", false, tls_ulp(),
        "mutual TLS runs in the agent (tier=userspace) instead of the kernel: modprobe tls, CONFIG_TLS");
    add("mptcp", false, mptcp(), "nothing unless applications use MPTCP: CONFIG_MPTCP");
    add("sctp", false, sctp(), "SCTP applications cannot run on this node: modprobe sctp");
    return out;
}

} // namespace weft::admin
