// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/view.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>

#include "agent/bpf/conn_reader.hpp"
#include "agent/bpf/counters.hpp"
#include "agent/bpf/kernel_map.hpp"

namespace weft::app {
namespace {

bool per_cpu(std::uint32_t type) {
    return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
}

/// Maps whose entries the kernel does not list.
bool unlisted(std::uint32_t type) {
    return type == BPF_MAP_TYPE_RINGBUF || type == BPF_MAP_TYPE_SK_STORAGE;
}

std::string type_name(std::uint32_t type) {
    const char* name = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
    return name != nullptr ? name : std::to_string(type);
}

Result<UniqueFd> open_pin(const std::string& path) {
    UniqueFd fd(::bpf_obj_get(path.c_str()));
    if (!fd.valid()) {
        return system_failure("cannot open pinned map {}", path);
    }
    return fd;
}

Result<UniqueFd> own(const Result<int>& borrowed) {
    if (!borrowed) {
        return std::unexpected(borrowed.error());
    }
    return bpf::duplicate(*borrowed);
}

/// Entries of a per-CPU array: every CPU's value, one after another.
Result<std::vector<admin::RawEntry>> dump_per_cpu(int fd, const bpf::MapFacts& facts) {
    const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
    const std::size_t stride = (std::size_t{facts.value_size} + 7U) / 8U * 8U; // the kernel rounds values up to 8 bytes
    std::vector<admin::RawEntry> entries;
    for (std::uint32_t index = 0; index < facts.max_entries; ++index) {
        admin::RawEntry entry;
        entry.key.resize(sizeof index);
        std::memcpy(entry.key.data(), &index, sizeof index);
        entry.value.resize(stride * cpus);
        if (::bpf_map_lookup_elem(fd, &index, entry.value.data()) != 0) {
            return system_failure("cannot read map {}", facts.name);
        }
        entries.push_back(std::move(entry));
    }
    return entries;
}

} // namespace

View::View(const Options& options, const Published& published)
    : options_(options), published_(published), pins_(options.pin_dir) {}

Result<std::unique_ptr<View>> View::create(const Options& options, const Published& published,
                                           const bpf::Datapath& datapath, const MeshControl* mesh) {
    std::unique_ptr<View> view(new View(options, published));
    view->mesh_ = mesh;
    view->hooks_ = datapath.hooks();
    WEFT_ASSIGN(view->iterator_, own(datapath.program_fd("weft_conn_iter")));
    WEFT_ASSIGN(view->sockets_, own(datapath.map_fd("weft_socket")));
    WEFT_ASSIGN(view->counters_, own(datapath.map_fd("weft_counters")));
    WEFT_ASSIGN(view->drops_, own(datapath.map_fd("weft_drops")));
    return view;
}

std::shared_ptr<const compiler::DesiredState> View::desired() const {
    return published_.get()->desired;
}

std::shared_ptr<const store::Snapshot> View::snapshot() const {
    return published_.get()->snapshot;
}

admin::AgentHealth View::health() const {
    const auto picture = published_.get();
    admin::AgentHealth health;
    health.node_name = options_.node_name;
    health.source = "manifests " + options_.manifests +
                    (picture->source_trouble.empty() ? "" : " (unreadable: " + picture->source_trouble + ")");
    health.cgroup_path = options_.cgroup_path;
    health.pin_dir = options_.pin_dir;
    health.started = started_;
    health.synced = picture->synced_at != std::chrono::steady_clock::time_point{};
    health.last_sync = picture->synced_at;
    health.policy_revision = picture->revision;
    health.probe = admin::HookProbe::kPassed; // the agent does not come this far otherwise
    health.hooks = hooks_;
    for (const auto& failed : picture->failures) {
        health.failures.push_back({failed.object, failed.map, failed.error.message()});
    }
    return health;
}

Result<std::vector<admin::MapHealth>> View::maps() const {
    const auto picture = published_.get();
    std::vector<admin::MapHealth> all;
    for (const auto& name : bpf::names_in(pins_.maps_dir())) {
        WEFT_ASSIGN(const auto fd, open_pin(pins_.map(name)));
        WEFT_ASSIGN(const auto facts, bpf::map_facts(fd.get()));
        admin::MapHealth health;
        health.name = name;
        health.type = type_name(facts.type);
        health.capacity = facts.max_entries;
        health.counted = !unlisted(facts.type);
        if (per_cpu(facts.type) || facts.type == BPF_MAP_TYPE_ARRAY) {
            health.entries = facts.max_entries;
        } else if (health.counted) {
            WEFT_ASSIGN(const auto map, bpf::KernelMap::open_pinned(pins_.map(name)));
            WEFT_TRY(map->for_each([&](bpf::Bytes, bpf::Bytes) { ++health.entries; }));
        }
        if (const auto drift = picture->drift.find(name); drift != picture->drift.end()) {
            health.drift = drift->second.total();
        }
        all.push_back(std::move(health));
    }
    return all;
}

Result<admin::Counters> View::counters() const {
    admin::Counters counters;
    WEFT_ASSIGN(counters.counters, bpf::read_counters(counters_.get()));
    WEFT_ASSIGN(counters.drops, bpf::read_counters(drops_.get()));
    return counters;
}

Result<std::vector<weft_conn>> View::connections() const {
    return bpf::read_connections(iterator_.get(), sockets_.get());
}

Result<std::vector<admin::RawEntry>> View::dump_map(const std::string& name) const {
    const auto known = bpf::names_in(pins_.maps_dir());
    if (std::ranges::find(known, name) == known.end()) {
        return failure(ENOENT, "no map is called '{}'; `weft map list` shows all", name);
    }
    WEFT_ASSIGN(const auto fd, open_pin(pins_.map(name)));
    WEFT_ASSIGN(const auto facts, bpf::map_facts(fd.get()));
    if (unlisted(facts.type)) {
        return failure(EOPNOTSUPP,
                       "map {} has no list of entries; sockets are in `weft conn list`, events in `weft flows`", name);
    }
    if (per_cpu(facts.type)) {
        return dump_per_cpu(fd.get(), facts);
    }
    WEFT_ASSIGN(const auto map, bpf::KernelMap::open_pinned(pins_.map(name)));
    std::vector<admin::RawEntry> entries;
    WEFT_TRY(map->for_each([&](bpf::Bytes key, bpf::Bytes value) {
        entries.push_back({{key.begin(), key.end()}, {value.begin(), value.end()}});
    }));
    return entries;
}

} // namespace weft::app
