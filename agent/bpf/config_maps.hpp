// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which maps does the agent write? The one list of them, with how many entries each is to hold.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "agent/bpf/map_io.hpp"

namespace weft::bpf {

/// The maps that only the reconciler writes. Shared: a reader may keep one while the data path moves to larger maps.
struct ConfigMaps {
    std::shared_ptr<MapIo> endpoint;  ///< netns cookie -> weft_endpoint
    std::shared_ptr<MapIo> local;     ///< weft_addr -> netns cookie
    std::shared_ptr<MapIo> ipcache;   ///< weft_addr -> weft_peer
    std::shared_ptr<MapIo> cidr;      ///< weft_cidr_key -> weft_peer
    std::shared_ptr<MapIo> policy;    ///< weft_policy_key -> weft_policy_entry
    std::shared_ptr<MapIo> ports;     ///< weft_ports_key -> rule id
    std::shared_ptr<MapIo> service;   ///< weft_addr_port -> weft_service
    std::shared_ptr<MapIo> slot;      ///< weft_slot_key -> weft_slot
    std::shared_ptr<MapIo> maglev;    ///< weft_maglev_key -> weft_maglev_chunk
    std::shared_ptr<MapIo> member;    ///< weft_member_key -> u32
    std::shared_ptr<MapIo> node_addr; ///< weft_addr -> u32
    std::shared_ptr<MapIo> tls_port;  ///< weft_addr_port -> u32
    std::shared_ptr<MapIo> config;    ///< u32 0 -> weft_config
};

/// Entries per map that can grow.
struct MapSizes {
    std::uint32_t endpoint = 0;
    std::uint32_t local = 0;
    std::uint32_t ipcache = 0;
    std::uint32_t cidr = 0;
    std::uint32_t policy = 0;
    std::uint32_t ports = 0;
    std::uint32_t service = 0;
    std::uint32_t slot = 0;
    std::uint32_t maglev = 0;
    std::uint32_t member = 0;
    std::uint32_t node_addr = 0;
    std::uint32_t tls_port = 0;

    friend bool operator==(const MapSizes&, const MapSizes&) = default;
};

/// One config map: its name in the BPF object, where it stands in both structs above, and its least capacity.
struct ConfigMapField {
    std::string_view name;
    std::shared_ptr<MapIo> ConfigMaps::* map;
    std::uint32_t MapSizes::* size; ///< null: fixed size
    std::uint32_t minimum;
};

inline constexpr std::array<ConfigMapField, 13> kConfigMaps{{
    {"weft_endpoint", &ConfigMaps::endpoint, &MapSizes::endpoint, 1024},
    {"weft_local", &ConfigMaps::local, &MapSizes::local, 1024},
    {"weft_ipcache", &ConfigMaps::ipcache, &MapSizes::ipcache, 4096},
    {"weft_cidr", &ConfigMaps::cidr, &MapSizes::cidr, 1024},
    {"weft_policy", &ConfigMaps::policy, &MapSizes::policy, 4096},
    {"weft_ports", &ConfigMaps::ports, &MapSizes::ports, 4096},
    {"weft_service", &ConfigMaps::service, &MapSizes::service, 1024},
    {"weft_slot", &ConfigMaps::slot, &MapSizes::slot, 4096},
    {"weft_maglev", &ConfigMaps::maglev, &MapSizes::maglev, 1024},
    {"weft_member", &ConfigMaps::member, &MapSizes::member, 4096},
    {"weft_node_addr", &ConfigMaps::node_addr, &MapSizes::node_addr, 1024},
    {"weft_tls_port", &ConfigMaps::tls_port, &MapSizes::tls_port, 1024},
    {"weft_config", &ConfigMaps::config, nullptr, 1},
}};

/// Capacity for `entries`: a power of two, at least twice as many, so that a change of everything at once fits beside
/// the old; never below `minimum`.
std::uint32_t capacity_for(std::uint32_t entries, std::uint32_t minimum);

/// Do `entries` leave a quarter of each map free? When not, it is time to grow.
bool fits(const MapSizes& entries, const ConfigMaps& maps);

} // namespace weft::bpf
