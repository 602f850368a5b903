// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which backend sets are in weft_slot and weft_maglev, and who still needs them? A set is immutable and named by its
// content: it is written once however many frontends use it, and removed after its last user. Their content is not
// copied: the fragment that brought it is kept instead.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "agent/bpf/map_io.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/reconcile/shadow.hpp"

namespace weft::reconcile {

using FragmentPtr = std::shared_ptr<const compiler::ServiceFragment>;

class BackendSets {
public:
    /// Takes what the maps contain as found: claimed by acquire(), or removed by sweep().
    Result<> bind(std::shared_ptr<bpf::MapIo> slots, std::shared_ptr<bpf::MapIo> maglev);

    /// One more user of the fragment's set; writes what is missing of it. On error nothing of it is left behind.
    std::expected<void, Refused> acquire(const FragmentPtr& fragment, ApplyStats& stats);
    /// One user less.
    void release(std::uint64_t set);
    /// Removes sets without users, and found ones that `live` does not contain.
    void sweep(const std::unordered_set<std::uint64_t>& live, ApplyStats& stats);
    /// Are there found entries that nobody claimed?
    [[nodiscard]] bool has_unclaimed() const { return !found_slots_.empty() || !found_chunks_.empty(); }

    /// Compares both maps with what should be there and mends them.
    Result<> mend(DriftReport& report);

private:
    struct Set {
        std::uint32_t users = 0;
        FragmentPtr content;
        bool maglev = false;
    };

    std::expected<void, Refused> write_slots(const compiler::ServiceFragment& fragment, ApplyStats& stats);
    std::expected<void, Refused> write_maglev(const compiler::ServiceFragment& fragment, ApplyStats& stats);
    void remove_slots(std::uint64_t set, std::size_t count, ApplyStats& stats);
    void remove_maglev(std::uint64_t set, ApplyStats& stats);
    Result<MapDrift> mend_slots(DriftReport& report);
    Result<MapDrift> mend_maglev(DriftReport& report);

    std::shared_ptr<bpf::MapIo> slots_;
    std::shared_ptr<bpf::MapIo> maglev_;
    std::unordered_map<std::uint64_t, Set> sets_;
    std::unordered_set<std::uint64_t> idle_; ///< sets that lost their last user and await sweep()
    compiler::Image<weft_slot_key, weft_slot> found_slots_;
    compiler::Image<weft_maglev_key, std::uint64_t> found_chunks_; ///< hash of the content: a chunk is a kilobyte
};

} // namespace weft::reconcile
