// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does one map contain, without asking the kernel each time? A copy of its entries that every write goes
// through, so that equal entries cost nothing and a restart begins with what the kernel already has.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "agent/bpf/map_io.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/reconcile/stats.hpp"

namespace weft::reconcile {

template <typename K>
using KeySet = std::unordered_set<K, compiler::AbiHash, compiler::AbiEqual>;

/// A failed write and the map that refused it.
struct Refused {
    std::string map;
    Error error;
};

/// Compares a map with `expected` and mends it. Extra entries are removed; `on_fail(const Error&)` hears of each entry
/// that could not be mended. Error: the map cannot be read.
template <typename K, typename V, typename OnFail>
Result<MapDrift> mend(bpf::TypedMap<K, V> map, const compiler::Image<K, V>& expected, OnFail&& on_fail) {
    MapDrift drift;
    std::vector<K> extra;
    std::vector<K> wrong;
    std::size_t equal = 0;
    const compiler::AbiEqual same;
    WEFT_TRY(map.for_each([&](const K& key, const V& value) {
        const auto found = expected.find(key);
        if (found == expected.end()) {
            extra.push_back(key);
        } else if (!same(found->second, value)) {
            wrong.push_back(key);
        } else {
            ++equal;
        }
    }));
    drift.extra = extra.size();
    drift.changed = wrong.size();
    if (equal + wrong.size() < expected.size()) {
        KeySet<K> present;
        WEFT_TRY(map.for_each([&](const K& key, const V&) { present.insert(key); }));
        for (const auto& [key, value] : expected) {
            if (!present.contains(key)) {
                wrong.push_back(key);
                ++drift.missing;
            }
        }
    }
    // Extra entries go first: what stands where nothing should be may be an allow rule, and its room may be needed.
    for (const K& key : extra) {
        if (auto removed = map.remove(key); !removed) {
            on_fail(removed.error());
        }
    }
    for (const K& key : wrong) {
        if (auto written = map.update(key, expected.at(key)); !written) {
            on_fail(written.error());
        }
    }
    return drift;
}

template <typename K, typename V>
class Shadow {
public:
    using Image = compiler::Image<K, V>;

    /// Reads the whole map. Error: it cannot be read.
    Result<> bind(std::shared_ptr<bpf::MapIo> io) {
        io_ = std::move(io);
        actual_.clear();
        return map().for_each([&](const K& key, const V& value) { actual_.insert_or_assign(key, value); });
    }

    [[nodiscard]] const Image& actual() const { return actual_; }
    [[nodiscard]] const std::string& name() const { return io_->name(); }
    [[nodiscard]] const V* find(const K& key) const {
        const auto found = actual_.find(key);
        return found == actual_.end() ? nullptr : &found->second;
    }

    /// Writes one entry unless it is there already.
    Result<> put(const K& key, const V& value, ApplyStats& stats) {
        const V* present = find(key);
        if (present != nullptr && compiler::AbiEqual{}(*present, value)) {
            return {};
        }
        WEFT_TRY(map().update(key, value));
        actual_.insert_or_assign(key, value);
        ++stats.written;
        return {};
    }

    /// Removes one entry if it is there.
    Result<> drop(const K& key, ApplyStats& stats) {
        if (find(key) == nullptr) {
            return {};
        }
        WEFT_TRY(map().remove(key));
        actual_.erase(key);
        ++stats.removed;
        return {};
    }

    /// Writes what differs from `desired` and for which `want(key, value)` holds. `on_fail(key, error)` hears of each
    /// entry that was refused; the others go on.
    template <typename Want, typename OnFail>
    void put_all(const Image& desired, ApplyStats& stats, Want&& want, OnFail&& on_fail) {
        std::vector<K> keys;
        std::vector<V> values;
        const compiler::AbiEqual same;
        for (const auto& [key, value] : desired) {
            const V* present = find(key);
            if ((present == nullptr || !same(*present, value)) && want(key, value)) {
                keys.push_back(key);
                values.push_back(value);
            }
        }
        std::size_t at = 0;
        while (at < keys.size()) {
            const bpf::Batch batch = map().update_batch(std::span(keys).subspan(at), std::span(values).subspan(at));
            for (const std::size_t end = at + batch.done; at < end; ++at) {
                actual_.insert_or_assign(keys[at], values[at]);
                ++stats.written;
            }
            if (batch.error && at < keys.size()) {
                on_fail(keys[at], *batch.error);
                ++at;
            }
        }
    }

    /// Keys that are there and for which `unwanted(key)` holds.
    template <typename Unwanted>
    [[nodiscard]] std::vector<K> select(Unwanted&& unwanted) const {
        std::vector<K> keys;
        for (const auto& [key, value] : actual_) {
            if (unwanted(key)) {
                keys.push_back(key);
            }
        }
        return keys;
    }

    /// Removes these entries; `on_fail(key, error)` as above.
    template <typename OnFail>
    void drop_all(const std::vector<K>& keys, ApplyStats& stats, OnFail&& on_fail) {
        std::size_t at = 0;
        while (at < keys.size()) {
            const bpf::Batch batch = map().remove_batch(std::span(keys).subspan(at));
            for (const std::size_t end = at + batch.done; at < end; ++at) {
                actual_.erase(keys[at]);
                ++stats.removed;
            }
            if (batch.error && at < keys.size()) {
                on_fail(keys[at], *batch.error);
                ++at;
            }
        }
    }

    /// Compares the map with this copy and mends the map.
    template <typename OnFail>
    Result<MapDrift> mend_map(OnFail&& on_fail) {
        return mend<K, V>(map(), actual_, std::forward<OnFail>(on_fail));
    }

private:
    bpf::TypedMap<K, V> map() const { return bpf::TypedMap<K, V>(*io_); }

    std::shared_ptr<bpf::MapIo> io_;
    Image actual_;
};

} // namespace weft::reconcile
