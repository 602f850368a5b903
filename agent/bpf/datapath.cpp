// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/datapath.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "agent/bpf/hooks.hpp"
#include "agent/bpf/kernel_map.hpp"
#include "agent/bpf/libbpf_log.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/veth_guard.hpp"
#include "weft/abi/event.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // generated code
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "bpf/weft.skel.h"
#pragma GCC diagnostic pop

namespace weft::bpf {
namespace {

const ConfigMapField* config_field(std::string_view name) {
    const auto* found = std::ranges::find(kConfigMaps, name, &ConfigMapField::name);
    return found == kConfigMaps.end() ? nullptr : found;
}

// Counters and the ring are as large as the list that they index: another size is another version of that list.
bool must_have_exact_size(std::uint32_t type) {
    return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_RINGBUF;
}

bool is_cgroup_program(const bpf_program* program) {
    switch (bpf_program__type(program)) {
    case BPF_PROG_TYPE_CGROUP_SKB:
    case BPF_PROG_TYPE_CGROUP_SOCK:
    case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE_CGROUP_SOCKOPT:
    case BPF_PROG_TYPE_SOCK_OPS:
        return true;
    default:
        return false;
    }
}

std::vector<HookProgram> hook_programs(const bpf_object* object) {
    std::vector<HookProgram> hooks;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object) {
        if (is_cgroup_program(program) && bpf_program__autoload(program)) {
            hooks.push_back(
                {bpf_program__name(program), bpf_program__fd(program), bpf_program__expected_attach_type(program)});
        }
    }
    return hooks;
}

Result<> check_layout(const bpf_map* map, const MapFacts& pinned, const std::string& path) {
    const auto differs = [&](std::string_view what, auto have, auto want) {
        return failure(EPROTO,
                       "pinned map {} has another layout ({} {}, this version has {}): it was made by an incompatible "
                       "version; run `weft uninstall` and start again",
                       path, what, have, want);
    };
    if (pinned.type != bpf_map__type(map)) {
        return differs("type", pinned.type, static_cast<std::uint32_t>(bpf_map__type(map)));
    }
    if (pinned.key_size != bpf_map__key_size(map)) {
        return differs("key size", pinned.key_size, bpf_map__key_size(map));
    }
    if (pinned.value_size != bpf_map__value_size(map)) {
        return differs("value size", pinned.value_size, bpf_map__value_size(map));
    }
    if (pinned.flags != bpf_map__map_flags(map)) {
        return differs("flags", pinned.flags, bpf_map__map_flags(map));
    }
    return {};
}

} // namespace

// One loaded object with its maps: what open() makes and grow() replaces.
struct Datapath::Loaded {
    struct Destroy {
        void operator()(weft_bpf* skeleton) const { weft_bpf__destroy(skeleton); }
    };
    std::unique_ptr<weft_bpf, Destroy> skeleton;
    ConfigMaps maps;
    std::set<std::string> pin_first; ///< maps without a pin: pinned before any hook uses them
    std::set<std::string> pin_last;  ///< maps that replace a pinned one, once the hooks use them
    bool adopted = false;
    bool grown = false;

    Result<> choose_maps(const PinLayout& layout, const MapSizes& sizes, bool fresh_config);
    Result<> size_traffic(std::uint32_t entries) const;
    Result<> load(const DatapathOptions& options);
    Result<> collect();
    Result<> pin(const PinLayout& layout, const std::set<std::string>& names) const;
    [[nodiscard]] Result<> join_sockets() const;
};

// Sockets that were joined under earlier programs keep those, with the maps that they were loaded with. Nobody writes
// such maps from now on, so they are told to leave.
void retire_config(const UniqueFd& config) {
    const std::uint32_t zero = 0;
    weft_config value{};
    if (!config.valid() || bpf_map_lookup_elem(config.get(), &zero, &value) != 0) {
        return; // there was none
    }
    value.flags |= WEFT_CONFIG_RETIRED;
    (void)bpf_map_update_elem(config.get(), &zero, &value, BPF_ANY); // an array of one: cannot fail
}

// Decides for each map whether the pinned one is taken over or a new one is made.
Result<> Datapath::Loaded::choose_maps(const PinLayout& layout, const MapSizes& sizes, bool fresh_config) {
    std::map<std::string, std::pair<UniqueFd, MapFacts>> pinned;
    std::size_t config_maps_pinned = 0;
    bool too_small = false;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton->obj) {
        const std::string name = bpf_map__name(map);
        if (bpf_map__is_internal(map)) {
            continue;
        }
        const std::string path = layout.map(name);
        UniqueFd fd(bpf_obj_get(path.c_str()));
        if (!fd.valid()) {
            if (errno != ENOENT) {
                return system_failure("opening pinned map {}", path);
            }
            continue;
        }
        WEFT_ASSIGN(MapFacts facts, map_facts(fd.get()));
        WEFT_TRY(check_layout(map, facts, path));
        if (const ConfigMapField* field = config_field(name)) {
            ++config_maps_pinned;
            too_small |=
                field->size != nullptr && std::uint64_t{sizes.*field->size} * 4 > std::uint64_t{facts.max_entries} * 3;
        }
        pinned.emplace(name, std::pair(std::move(fd), std::move(facts)));
    }
    // A set of config maps is only consistent as a whole: all are taken over, or none is.
    adopted = !fresh_config && !too_small && config_maps_pinned == kConfigMaps.size();
    grown = !adopted && config_maps_pinned > 0;

    bpf_object__for_each_map(map, skeleton->obj) {
        const std::string name = bpf_map__name(map);
        if (bpf_map__is_internal(map)) {
            continue;
        }
        const auto found = pinned.find(name);
        const ConfigMapField* field = config_field(name);
        const bool reuse = found != pinned.end() &&
                           (field != nullptr ? adopted
                                             : !must_have_exact_size(bpf_map__type(map)) ||
                                                   found->second.second.max_entries == bpf_map__max_entries(map));
        if (reuse) {
            if (bpf_map__reuse_fd(map, found->second.first.get()) != 0) {
                return system_failure("taking over pinned map {}", layout.map(name));
            }
            continue;
        }
        (found == pinned.end() ? pin_first : pin_last).insert(name);
        if (field != nullptr && field->size != nullptr &&
            bpf_map__set_max_entries(map, capacity_for(sizes.*field->size, field->minimum)) != 0) {
            return system_failure("sizing map {}", name);
        }
    }
    return {};
}

// Before maps are taken over, which then keep the size that they have.
Result<> Datapath::Loaded::size_traffic(std::uint32_t entries) const {
    constexpr std::uint32_t kPeersEach = 16; // workloads that fill the table have at least so many peers on average
    if (bpf_map__set_max_entries(skeleton->maps.weft_traffic, entries) != 0 ||
        bpf_map__set_max_entries(skeleton->maps.weft_others, std::max(entries / kPeersEach, 1024U)) != 0) {
        return system_failure("sizing map weft_traffic");
    }
    return {};
}

Result<> Datapath::Loaded::load(const DatapathOptions& options) {
    if (options.configure) {
        options.configure(*skeleton);
    }
    const LibbpfLog log;
    if (const int result = weft_bpf__load(skeleton.get()); result != 0) {
        return failure(-result, "loading the BPF programs: {}: {}", std::strerror(-result), log.tail());
    }
    return {};
}

Result<> Datapath::Loaded::collect() {
    for (const ConfigMapField& field : kConfigMaps) {
        const std::string name(field.name);
        const bpf_map* map = bpf_object__find_map_by_name(skeleton->obj, name.c_str());
        if (map == nullptr) {
            return failure(ENOENT, "the BPF object has no map {}", name);
        }
        WEFT_ASSIGN(UniqueFd fd, duplicate(bpf_map__fd(map)));
        WEFT_ASSIGN(maps.*field.map, KernelMap::open(std::move(fd)));
    }
    return {};
}

Result<> Datapath::Loaded::pin(const PinLayout& layout, const std::set<std::string>& names) const {
    for (const std::string& name : names) {
        const bpf_map* map = bpf_object__find_map_by_name(skeleton->obj, name.c_str());
        WEFT_TRY(pin_over(bpf_map__fd(map), layout.map(name)));
    }
    return {};
}

// For sockets that enter the map from now on; those in it keep the program that they have.
Result<> Datapath::Loaded::join_sockets() const {
    if (const int result = bpf_prog_attach(bpf_program__fd(skeleton->progs.weft_sk_msg),
                                           bpf_map__fd(skeleton->maps.weft_accel_sk), BPF_SK_MSG_VERDICT, 0);
        result != 0) {
        return failure(-result, "attaching weft_sk_msg to its map: {}", std::strerror(-result));
    }
    return {};
}

Datapath::Datapath(DatapathOptions options) : options_(std::move(options)) {}
Datapath::Datapath(Datapath&&) noexcept = default;
Datapath& Datapath::operator=(Datapath&&) noexcept = default;
Datapath::~Datapath() = default;

const ConfigMaps& Datapath::maps() const {
    return loaded_->maps;
}
const DatapathStats& Datapath::stats() const {
    return stats_;
}

Result<> Datapath::load(const MapSizes& sizes, bool fresh_config, const FillMaps& fill) {
    const PinLayout layout(options_.pin_dir);
    WEFT_TRY(layout.create());
    WEFT_ASSIGN(const Cgroup cgroup, open_cgroup(options_.cgroup_path));

    auto next = std::make_unique<Loaded>();
    {
        const LibbpfLog log;
        next->skeleton.reset(weft_bpf__open());
        if (next->skeleton == nullptr) {
            return system_failure("opening the BPF object ({})", log.tail());
        }
        WEFT_TRY(next->size_traffic(options_.traffic_entries));
        WEFT_TRY(next->choose_maps(layout, sizes, fresh_config));
    }
    WEFT_TRY(next->load(options_));
    WEFT_TRY(next->collect());
    if (fill) {
        WEFT_TRY(fill(next->maps));
    }
    WEFT_TRY(next->pin(layout, next->pin_first));
    WEFT_TRY(next->join_sockets());
    const UniqueFd old_config(next->adopted ? -1 : bpf_obj_get(layout.map("weft_config").c_str()));
    const bool replaces_config = next->pin_last.contains("weft_config");
    const std::vector<HookProgram> programs = hook_programs(next->skeleton->obj);
    WEFT_ASSIGN(const SwitchStats switched, switch_hooks(programs, cgroup, layout));
    // From here on the new programs decide. Should a step below fail or the agent die, the next start sorts it out:
    // it gives every hook programs that use whatever maps are pinned then.
    stats_ = {switched.attached, switched.replaced, switched.reattached, next->adopted, next->grown};
    loaded_ = std::move(next);
    if (replaces_config) {
        retire_config(old_config); // before its pin goes: who finds it pinned later writes all of it anew
    }
    WEFT_TRY(loaded_->pin(layout, loaded_->pin_last));
    for (const std::string& name : names_in(layout.links_dir())) {
        if (std::ranges::find(programs, name, &HookProgram::name) == programs.end()) {
            WEFT_TRY(detach_pinned(layout.link(name))); // a hook that this version no longer has
        }
    }
    for (const std::string& directory : layout.other_versions()) {
        WEFT_TRY(remove_version(directory));
    }
    return {};
}

Result<Datapath> Datapath::open(DatapathOptions options, const FillMaps& fill) {
    Datapath datapath(std::move(options));
    WEFT_TRY(datapath.load(datapath.options_.sizes, false, fill));
    return datapath;
}

Result<> Datapath::grow(const MapSizes& sizes, const FillMaps& fill) {
    return load(sizes, true, fill);
}

Result<int> Datapath::map_fd(const std::string& name) const {
    const bpf_map* map = bpf_object__find_map_by_name(loaded_->skeleton->obj, name.c_str());
    if (map == nullptr) {
        return failure(ENOENT, "the BPF object has no map {}", name);
    }
    return bpf_map__fd(map);
}

Result<int> Datapath::program_fd(const std::string& name) const {
    const bpf_program* program = bpf_object__find_program_by_name(loaded_->skeleton->obj, name.c_str());
    if (program == nullptr || bpf_program__fd(program) < 0) {
        return failure(ENOENT, "the BPF object has no loaded program {}", name);
    }
    return bpf_program__fd(program);
}

std::vector<std::string> Datapath::hooks() const {
    std::vector<std::string> names;
    for (HookProgram& hook : hook_programs(loaded_->skeleton->obj)) {
        names.push_back(std::move(hook.name));
    }
    return names;
}

} // namespace weft::bpf
