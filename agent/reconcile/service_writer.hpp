// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do Services get into their maps? Three steps that the reconciler calls in this order: prepare() writes what no
// frontend names yet, flip() makes each frontend name it, retire() removes what no frontend names any more.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "agent/bpf/config_maps.hpp"
#include "agent/reconcile/backend_sets.hpp"
#include "agent/reconcile/shadow.hpp"

namespace weft::reconcile {

class ServiceWriter {
public:
    using Services = SortedMap<std::uint64_t, FragmentPtr>;

    /// Reads the maps; what they contain is claimed or removed by the next round.
    Result<> bind(const bpf::ConfigMaps& maps);

    /// Backend sets and members of every changed Service.
    void prepare(const Services& desired, ApplyStats& stats);
    /// Frontends of every changed Service that prepare() could write. A refused one puts its Service back as it was.
    void flip(const Services& desired, ApplyStats& stats);
    /// Frontends, members and sets that `desired` no longer has; those of a failed Service stay.
    void retire(const Services& desired, ApplyStats& stats);

    /// Compares the maps with what should be there and mends them.
    Result<> mend(DriftReport& report);

private:
    [[nodiscard]] FragmentPtr applied(std::uint64_t id) const;
    bool prepare_one(const FragmentPtr& fragment, const FragmentPtr& before, ApplyStats& stats);
    bool flip_one(const FragmentPtr& fragment, ApplyStats& stats);
    void withdraw(const FragmentPtr& fragment, const FragmentPtr& before, ApplyStats& stats);
    bool retire_frontends(const FragmentPtr& before, const FragmentPtr& now, ApplyStats& stats);
    void retire_members(const FragmentPtr& before, const FragmentPtr& now, ApplyStats& stats);
    void report_moved(ApplyStats& stats);
    void retire_found(const Services& desired, ApplyStats& stats);
    void fail(const compiler::ServiceFragment& fragment, const std::string& map, const Error& error, ApplyStats& stats);
    [[nodiscard]] bpf::TypedMap<weft_member_key, std::uint32_t> members() const {
        return bpf::TypedMap<weft_member_key, std::uint32_t>(*member_io_);
    }

    Shadow<weft_addr_port, weft_service> frontends_;
    compiler::Image<weft_addr_port, std::uint64_t> owners_; ///< frontend -> service whose fragment wrote it
    Services applied_; ///< what is wholly in the maps; shares its chunks with what was desired last
    std::shared_ptr<bpf::MapIo> member_io_;
    KeySet<weft_member_key> found_members_; ///< in the map at bind(), not claimed yet
    BackendSets sets_;
    Services previous_; ///< what was in the maps before the last bind(): names backends that go with the move
    bool found_frontends_ = false; ///< there may be frontends without owner

    std::vector<FragmentPtr> leaving_; ///< replaced, but a frontend could not be removed: all of it stays until it can

    // Of the current round:
    std::map<std::uint64_t, FragmentPtr> changed_; ///< prepared, to be flipped
    std::map<std::uint64_t, FragmentPtr> replaced_; ///< flipped or removed: the old fragment (null: there was none)
    std::unordered_set<std::uint64_t> failed_;
};

} // namespace weft::reconcile
