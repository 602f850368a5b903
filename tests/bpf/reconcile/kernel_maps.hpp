// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Real kernel maps for tests, of the types that the BPF object declares, gone with the test.
#pragma once

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <cstring>
#include <stdexcept>

#include "agent/bpf/config_maps.hpp"
#include "agent/bpf/kernel_map.hpp"
#include "weft/abi/endpoint.h"
#include "weft/abi/event.h"
#include "weft/abi/policy.h"
#include "weft/abi/service.h"

namespace weft::test {

inline std::shared_ptr<bpf::KernelMap> kernel_map(bpf_map_type type, const std::string& name, std::size_t key,
                                                  std::size_t value, std::uint32_t entries) {
    DECLARE_LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = type == BPF_MAP_TYPE_ARRAY ? 0 : BPF_F_NO_PREALLOC;
    UniqueFd fd(
        bpf_map_create(type, name.c_str(), static_cast<__u32>(key), static_cast<__u32>(value), entries, &options));
    if (!fd.valid()) {
        throw std::runtime_error("creating map " + name + ": " + std::strerror(errno));
    }
    return bpf::KernelMap::open(std::move(fd)).value();
}

inline bpf::ConfigMaps kernel_config_maps(std::uint32_t entries) {
    constexpr auto kHash = BPF_MAP_TYPE_HASH;
    constexpr auto kTrie = BPF_MAP_TYPE_LPM_TRIE;
    bpf::ConfigMaps maps;
    maps.endpoint = kernel_map(kHash, "weft_endpoint", 8, sizeof(weft_endpoint), entries);
    maps.local = kernel_map(kHash, "weft_local", sizeof(weft_addr), 8, entries);
    maps.ipcache = kernel_map(kHash, "weft_ipcache", sizeof(weft_addr), sizeof(weft_peer), entries);
    maps.cidr = kernel_map(kTrie, "weft_cidr", sizeof(weft_cidr_key), sizeof(weft_peer), entries);
    maps.policy = kernel_map(kHash, "weft_policy", sizeof(weft_policy_key), sizeof(weft_policy_entry), entries);
    maps.ports = kernel_map(kTrie, "weft_ports", sizeof(weft_ports_key), 8, entries);
    maps.service = kernel_map(kHash, "weft_service", sizeof(weft_addr_port), sizeof(weft_service), entries);
    maps.slot = kernel_map(kHash, "weft_slot", sizeof(weft_slot_key), sizeof(weft_slot), entries);
    maps.maglev = kernel_map(kHash, "weft_maglev", sizeof(weft_maglev_key), sizeof(weft_maglev_chunk), entries);
    maps.member = kernel_map(kHash, "weft_member", sizeof(weft_member_key), 4, entries);
    maps.node_addr = kernel_map(kHash, "weft_node_addr", sizeof(weft_addr), 4, entries);
    maps.tls_port = kernel_map(kHash, "weft_tls_port", sizeof(weft_addr_port), 4, entries);
    maps.config = kernel_map(BPF_MAP_TYPE_ARRAY, "weft_config", 4, sizeof(weft_config), 1);
    return maps;
}

} // namespace weft::test
