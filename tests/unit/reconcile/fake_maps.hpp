// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The config maps in memory: every write can be watched, and made to fail. Full maps refuse as the kernel's do.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/bpf/config_maps.hpp"
#include "weft/abi/endpoint.h"
#include "weft/abi/event.h"
#include "weft/abi/policy.h"
#include "weft/abi/service.h"

namespace weft::test {

/// Shared by all maps of one kernel: sees every single write, in order.
struct Watch {
    std::function<std::optional<Error>(const std::string& map)> before; ///< an error here refuses the write
    std::function<void(const std::string& map)> after;
    std::size_t writes = 0;
};

class FakeMap final : public bpf::MapIo {
public:
    FakeMap(std::string name, std::size_t key, std::size_t value, std::uint32_t capacity, Watch& watch)
        : name_(std::move(name)), key_(key), value_(value), capacity_(capacity), watch_(watch) {}

    const std::string& name() const override { return name_; }
    std::size_t key_size() const override { return key_; }
    std::size_t value_size() const override { return value_; }
    std::uint32_t max_entries() const override { return capacity_; }

    Result<> update(bpf::Bytes key, bpf::Bytes value) override {
        WEFT_TRY(begin());
        if (!entries.contains(text(key)) && entries.size() >= capacity_) {
            return failure(E2BIG, "map {} is full ({} entries)", name_, capacity_);
        }
        entries[text(key)] = text(value);
        end();
        return {};
    }
    bpf::Batch update_batch(bpf::Bytes keys, bpf::Bytes values, std::size_t count) override {
        for (std::size_t i = 0; i < count; ++i) {
            if (auto one = update(keys.subspan(i * key_, key_), values.subspan(i * value_, value_)); !one) {
                return {i, one.error()};
            }
        }
        return {count, std::nullopt};
    }
    Result<> remove(bpf::Bytes key) override {
        WEFT_TRY(begin());
        entries.erase(text(key));
        end();
        return {};
    }
    bpf::Batch remove_batch(bpf::Bytes keys, std::size_t count) override {
        for (std::size_t i = 0; i < count; ++i) {
            if (auto one = remove(keys.subspan(i * key_, key_)); !one) {
                return {i, one.error()};
            }
        }
        return {count, std::nullopt};
    }
    Result<std::optional<std::vector<std::byte>>> lookup(bpf::Bytes key) override {
        const auto found = entries.find(text(key));
        if (found == entries.end()) {
            return std::nullopt;
        }
        const auto bytes = std::as_bytes(std::span(found->second));
        return std::vector<std::byte>(bytes.begin(), bytes.end());
    }
    Result<> for_each(const std::function<void(bpf::Bytes, bpf::Bytes)>& visit) override {
        for (const auto& [key, value] : entries) {
            visit(std::as_bytes(std::span(key)), std::as_bytes(std::span(value)));
        }
        return {};
    }

    std::map<std::string, std::string> entries;

private:
    static std::string text(bpf::Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
    Result<> begin() {
        if (watch_.before) {
            if (auto refused = watch_.before(name_)) {
                return std::unexpected(*refused);
            }
        }
        return {};
    }
    void end() {
        ++watch_.writes;
        if (watch_.after) {
            watch_.after(name_);
        }
    }

    std::string name_;
    std::size_t key_;
    std::size_t value_;
    std::uint32_t capacity_;
    Watch& watch_;
};

/// All config maps, each with the same generous capacity unless said otherwise.
struct FakeKernel {
    explicit FakeKernel(std::uint32_t capacity = 1u << 20) {
        make<std::uint64_t, weft_endpoint>(maps.endpoint, "weft_endpoint", capacity);
        make<weft_addr, std::uint64_t>(maps.local, "weft_local", capacity);
        make<weft_addr, weft_peer>(maps.ipcache, "weft_ipcache", capacity);
        make<weft_cidr_key, weft_peer>(maps.cidr, "weft_cidr", capacity);
        make<weft_policy_key, weft_policy_entry>(maps.policy, "weft_policy", capacity);
        make<weft_ports_key, std::uint64_t>(maps.ports, "weft_ports", capacity);
        make<weft_addr_port, weft_service>(maps.service, "weft_service", capacity);
        make<weft_slot_key, weft_slot>(maps.slot, "weft_slot", capacity);
        make<weft_maglev_key, weft_maglev_chunk>(maps.maglev, "weft_maglev", capacity);
        make<weft_member_key, std::uint32_t>(maps.member, "weft_member", capacity);
        make<weft_addr, std::uint32_t>(maps.node_addr, "weft_node_addr", capacity);
        make<weft_addr_port, std::uint32_t>(maps.tls_port, "weft_tls_port", capacity);
        make<std::uint32_t, weft_config>(maps.config, "weft_config", 1);
        reset_config();
    }
    FakeKernel(const FakeKernel&) = delete;
    FakeKernel& operator=(const FakeKernel&) = delete;

    template <typename K, typename V>
    void make(std::shared_ptr<bpf::MapIo>& map, const char* name, std::uint32_t capacity) {
        map = std::make_shared<FakeMap>(name, sizeof(K), sizeof(V), capacity, watch);
    }
    /// An array's entry exists from the start.
    void reset_config() { (void)bpf::TypedMap<std::uint32_t, weft_config>(*maps.config).update(0, {}); }

    static FakeMap& fake(const std::shared_ptr<bpf::MapIo>& map) { return static_cast<FakeMap&>(*map); }
    template <typename K, typename V>
    std::optional<V> get(const std::shared_ptr<bpf::MapIo>& map, const K& key) const {
        return bpf::TypedMap<K, V>(*map).lookup(key).value();
    }
    /// Contents of all maps but weft_config.
    [[nodiscard]] std::map<std::string, std::map<std::string, std::string>> contents() const {
        std::map<std::string, std::map<std::string, std::string>> all;
        for (const auto& field : bpf::kConfigMaps) {
            if (field.size != nullptr) {
                all.emplace(field.name, fake(maps.*field.map).entries);
            }
        }
        return all;
    }
    [[nodiscard]] std::uint64_t revision() const { return get<std::uint32_t, weft_config>(maps.config, 0)->revision; }

    Watch watch;
    bpf::ConfigMaps maps;
};

} // namespace weft::test
