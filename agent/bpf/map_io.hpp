// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does the agent read and write one map, whatever the map is? Bytes in, bytes out: the kernel's map and the
// tests' map in memory are used alike. Typed access is `TypedMap` on top.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

using Bytes = std::span<const std::byte>;

/// What became of a batch: `done` entries from the start were handled; `error` says why the next one was not.
struct Batch {
    std::size_t done = 0;
    std::optional<Error> error;
};

/// One map. Thread: whoever owns it; calls are not synchronised.
class MapIo {
public:
    MapIo() = default;
    MapIo(const MapIo&) = delete;
    MapIo& operator=(const MapIo&) = delete;
    virtual ~MapIo() = default;

    [[nodiscard]] virtual const std::string& name() const = 0;
    [[nodiscard]] virtual std::size_t key_size() const = 0;
    [[nodiscard]] virtual std::size_t value_size() const = 0;
    [[nodiscard]] virtual std::uint32_t max_entries() const = 0;

    /// Writes one entry, new or not. Error: E2BIG when the map is full, ENOMEM, EPERM.
    virtual Result<> update(Bytes key, Bytes value) = 0;
    /// Writes `count` entries in order; keys and values lie back to back.
    virtual Batch update_batch(Bytes keys, Bytes values, std::size_t count) = 0;
    /// Removes one entry; an absent one is no error.
    virtual Result<> remove(Bytes key) = 0;
    /// Removes `count` entries in order; absent ones are no error.
    virtual Batch remove_batch(Bytes keys, std::size_t count) = 0;
    /// The value, or nullopt when there is no such entry.
    virtual Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) = 0;
    /// Calls `visit` for every entry. Entries that change meanwhile may be seen or not. `visit` must not write to the
    /// map.
    virtual Result<> for_each(const std::function<void(Bytes key, Bytes value)>& visit) = 0;
};

/// A view of a MapIo as map from K to V, both ABI structs or integers. Does not own the map.
template <typename K, typename V>
class TypedMap {
    static_assert(std::is_trivially_copyable_v<K> && std::is_trivially_copyable_v<V>);

public:
    explicit TypedMap(MapIo& io) : io_(&io) {}

    [[nodiscard]] MapIo& io() const { return *io_; }
    Result<> update(const K& key, const V& value) { return io_->update(bytes_of(key), bytes_of(value)); }
    Batch update_batch(std::span<const K> keys, std::span<const V> values) {
        return io_->update_batch(std::as_bytes(keys), std::as_bytes(values), keys.size());
    }
    Result<> remove(const K& key) { return io_->remove(bytes_of(key)); }
    Batch remove_batch(std::span<const K> keys) { return io_->remove_batch(std::as_bytes(keys), keys.size()); }
    Result<std::optional<V>> lookup(const K& key) {
        WEFT_ASSIGN(const auto found, io_->lookup(bytes_of(key)));
        return found ? std::optional<V>(from_bytes<V>(*found)) : std::nullopt;
    }
    /// `visit(const K&, const V&)` for every entry.
    template <typename Visit>
    Result<> for_each(Visit&& visit) {
        return io_->for_each([&](Bytes key, Bytes value) { visit(from_bytes<K>(key), from_bytes<V>(value)); });
    }

private:
    template <typename T>
    static Bytes bytes_of(const T& value) {
        return std::as_bytes(std::span<const T, 1>(&value, 1));
    }
    template <typename T>
    static T from_bytes(Bytes bytes) {
        T value{};
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    MapIo* io_;
};

} // namespace weft::bpf
