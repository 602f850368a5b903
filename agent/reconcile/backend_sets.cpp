// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/reconcile/backend_sets.hpp"

#include <algorithm>

namespace weft::reconcile {
namespace {

using compiler::AbiEqual;
using compiler::AbiHash;
using SlotMap = bpf::TypedMap<weft_slot_key, weft_slot>;
using MaglevMap = bpf::TypedMap<weft_maglev_key, weft_maglev_chunk>;

weft_slot_key slot_key(std::uint64_t set, std::size_t index) {
    return {set, static_cast<std::uint32_t>(index), 0};
}
weft_maglev_key chunk_key(std::uint64_t set, std::uint32_t chunk) {
    return {set, chunk, 0};
}

weft_maglev_chunk chunk_of(const compiler::ServiceFragment& fragment, std::uint32_t chunk) {
    weft_maglev_chunk value{};
    const std::size_t begin = std::size_t{chunk} * WEFT_MAGLEV_CHUNK;
    const std::size_t end = std::min(begin + WEFT_MAGLEV_CHUNK, fragment.maglev.size());
    for (std::size_t i = begin; i < end; ++i) {
        value.slot[i - begin] = fragment.maglev[i];
    }
    return value;
}

} // namespace

Result<> BackendSets::bind(std::shared_ptr<bpf::MapIo> slots, std::shared_ptr<bpf::MapIo> maglev) {
    slots_ = std::move(slots);
    maglev_ = std::move(maglev);
    sets_.clear();
    idle_.clear();
    found_slots_.clear();
    found_chunks_.clear();
    WEFT_TRY(SlotMap(*slots_).for_each(
        [&](const weft_slot_key& key, const weft_slot& value) { found_slots_[key] = value; }));
    return MaglevMap(*maglev_).for_each(
        [&](const weft_maglev_key& key, const weft_maglev_chunk& value) { found_chunks_[key] = AbiHash{}(value); });
}

std::expected<void, Refused> BackendSets::acquire(const FragmentPtr& fragment, ApplyStats& stats) {
    if (fragment->slots.empty()) {
        return {};
    }
    const auto known = sets_.find(fragment->set_id);
    const bool has_slots = known != sets_.end();
    const bool has_maglev = has_slots && known->second.maglev;
    const bool wants_maglev = !fragment->maglev.empty();
    if (!has_slots) {
        if (auto written = write_slots(*fragment, stats); !written) {
            return written;
        }
    }
    if (wants_maglev && !has_maglev) {
        if (auto written = write_maglev(*fragment, stats); !written) {
            if (!has_slots) {
                remove_slots(fragment->set_id, fragment->slots.size(), stats);
            }
            return written;
        }
    }
    Set& set = sets_[fragment->set_id];
    ++set.users;
    if (wants_maglev || !set.maglev) {
        set.content = fragment; // the newest one: an older version of the Service need not be kept alive
    }
    set.maglev |= wants_maglev;
    idle_.erase(fragment->set_id);
    return {};
}

std::expected<void, Refused> BackendSets::write_slots(const compiler::ServiceFragment& fragment, ApplyStats& stats) {
    std::vector<weft_slot_key> keys;
    std::vector<weft_slot> values;
    for (std::size_t i = 0; i < fragment.slots.size(); ++i) {
        const weft_slot_key key = slot_key(fragment.set_id, i);
        const auto found = found_slots_.find(key);
        if (found != found_slots_.end() && AbiEqual{}(found->second, fragment.slots[i])) {
            continue;
        }
        keys.push_back(key);
        values.push_back(fragment.slots[i]);
    }
    if (!keys.empty()) {
        const bpf::Batch batch = SlotMap(*slots_).update_batch(keys, values);
        stats.written += batch.done;
        if (batch.error) {
            // New entries are taken back. One that was found, even with wrong content, may be in use: it stays found.
            for (std::size_t i = 0; i < batch.done; ++i) {
                if (const auto found = found_slots_.find(keys[i]); found != found_slots_.end()) {
                    found->second = values[i];
                } else if (SlotMap(*slots_).remove(keys[i]).has_value()) {
                    ++stats.removed;
                }
            }
            return std::unexpected(Refused{slots_->name(), *batch.error});
        }
    }
    for (std::size_t i = 0; i < fragment.slots.size() && !found_slots_.empty(); ++i) {
        found_slots_.erase(slot_key(fragment.set_id, i));
    }
    return {};
}

std::expected<void, Refused> BackendSets::write_maglev(const compiler::ServiceFragment& fragment, ApplyStats& stats) {
    std::vector<std::uint32_t> fresh;
    for (std::uint32_t chunk = 0; chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
        const weft_maglev_key key = chunk_key(fragment.set_id, chunk);
        const weft_maglev_chunk value = chunk_of(fragment, chunk);
        const auto found = found_chunks_.find(key);
        const bool present = found != found_chunks_.end();
        if (present && found->second == AbiHash{}(value)) {
            continue;
        }
        if (auto written = MaglevMap(*maglev_).update(key, value); !written) {
            for (const std::uint32_t undo : fresh) {
                if (MaglevMap(*maglev_).remove(chunk_key(fragment.set_id, undo)).has_value()) {
                    ++stats.removed;
                }
            }
            return std::unexpected(Refused{maglev_->name(), written.error()});
        }
        ++stats.written;
        if (present) {
            found->second = AbiHash{}(value);
        } else {
            fresh.push_back(chunk);
        }
    }
    for (std::uint32_t chunk = 0; chunk < WEFT_MAGLEV_CHUNKS && !found_chunks_.empty(); ++chunk) {
        found_chunks_.erase(chunk_key(fragment.set_id, chunk));
    }
    return {};
}

void BackendSets::remove_slots(std::uint64_t set, std::size_t count, ApplyStats& stats) {
    std::vector<weft_slot_key> keys;
    keys.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        keys.push_back(slot_key(set, i));
    }
    const bpf::Batch batch = SlotMap(*slots_).remove_batch(keys);
    stats.removed += batch.done;
    if (batch.error) {
        stats.failures.push_back({"backend set " + std::to_string(set), slots_->name(), *batch.error});
    }
}

void BackendSets::remove_maglev(std::uint64_t set, ApplyStats& stats) {
    std::vector<weft_maglev_key> keys;
    for (std::uint32_t chunk = 0; chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
        keys.push_back(chunk_key(set, chunk));
    }
    const bpf::Batch batch = MaglevMap(*maglev_).remove_batch(keys);
    stats.removed += batch.done;
    if (batch.error) {
        stats.failures.push_back({"backend set " + std::to_string(set), maglev_->name(), *batch.error});
    }
}

void BackendSets::release(std::uint64_t set) {
    const auto known = sets_.find(set);
    if (known != sets_.end() && --known->second.users == 0) {
        idle_.insert(set);
    }
}

void BackendSets::sweep(const std::unordered_set<std::uint64_t>& live, ApplyStats& stats) {
    for (const std::uint64_t id : idle_) {
        const auto set = sets_.find(id);
        if (set->second.maglev) {
            remove_maglev(id, stats);
        }
        remove_slots(id, set->second.content->slots.size(), stats);
        sets_.erase(set); // an entry that could not be removed is found, and removed, by mend()
    }
    idle_.clear();
    std::erase_if(found_slots_, [&](const auto& entry) {
        if (live.contains(entry.first.set) && !sets_.contains(entry.first.set)) {
            return false;
        }
        const bool gone = SlotMap(*slots_).remove(entry.first).has_value();
        stats.removed += gone;
        return gone;
    });
    std::erase_if(found_chunks_, [&](const auto& entry) {
        if (live.contains(entry.first.set) && !sets_.contains(entry.first.set)) {
            return false;
        }
        const bool gone = MaglevMap(*maglev_).remove(entry.first).has_value();
        stats.removed += gone;
        return gone;
    });
}

Result<> BackendSets::mend(DriftReport& report) {
    WEFT_ASSIGN(const MapDrift slots, mend_slots(report));
    if (slots.total() != 0) {
        report.maps[slots_->name()] = slots;
    }
    WEFT_ASSIGN(const MapDrift maglev, mend_maglev(report));
    if (maglev.total() != 0) {
        report.maps[maglev_->name()] = maglev;
    }
    return {};
}

Result<MapDrift> BackendSets::mend_slots(DriftReport& report) {
    MapDrift drift;
    std::vector<weft_slot_key> extra;
    std::unordered_map<std::uint64_t, std::size_t> good;
    std::unordered_map<std::uint64_t, std::size_t> bad;
    WEFT_TRY(SlotMap(*slots_).for_each([&](const weft_slot_key& key, const weft_slot& value) {
        const auto set = sets_.find(key.set);
        if (set != sets_.end() && key.index < set->second.content->slots.size() && key.pad == 0) {
            ++(AbiEqual{}(set->second.content->slots[key.index], value) ? good : bad)[key.set];
        } else if (!found_slots_.contains(key)) {
            extra.push_back(key);
        }
    }));
    const auto note = [&](const Result<>& result, std::uint64_t set) {
        if (!result) {
            report.failures.push_back({"backend set " + std::to_string(set), slots_->name(), result.error()});
        }
    };
    drift.extra = extra.size();
    for (const weft_slot_key& key : extra) {
        note(SlotMap(*slots_).remove(key), key.set);
    }
    for (const auto& [id, set] : sets_) {
        const std::size_t size = set.content->slots.size();
        const auto fine = good.find(id);
        if (fine != good.end() && fine->second == size) {
            continue;
        }
        const auto wrong = bad.find(id);
        const std::size_t changed = wrong == bad.end() ? 0 : wrong->second;
        drift.changed += changed;
        drift.missing += size - changed - (fine == good.end() ? 0 : fine->second);
        for (std::size_t i = 0; i < size; ++i) {
            note(SlotMap(*slots_).update(slot_key(id, i), set.content->slots[i]), id);
        }
    }
    return drift;
}

Result<MapDrift> BackendSets::mend_maglev(DriftReport& report) {
    MapDrift drift;
    std::vector<weft_maglev_key> extra;
    KeySet<weft_maglev_key> good;
    KeySet<weft_maglev_key> bad;
    WEFT_TRY(MaglevMap(*maglev_).for_each([&](const weft_maglev_key& key, const weft_maglev_chunk& value) {
        const auto set = sets_.find(key.set);
        if (set != sets_.end() && set->second.maglev && key.chunk < WEFT_MAGLEV_CHUNKS && key.pad == 0) {
            (AbiEqual{}(chunk_of(*set->second.content, key.chunk), value) ? good : bad).insert(key);
        } else if (!found_chunks_.contains(key)) {
            extra.push_back(key);
        }
    }));
    const auto note = [&](const Result<>& result, std::uint64_t set) {
        if (!result) {
            report.failures.push_back({"backend set " + std::to_string(set), maglev_->name(), result.error()});
        }
    };
    drift.extra = extra.size();
    for (const weft_maglev_key& key : extra) {
        note(MaglevMap(*maglev_).remove(key), key.set);
    }
    for (const auto& [id, set] : sets_) {
        for (std::uint32_t chunk = 0; set.maglev && chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
            const weft_maglev_key key = chunk_key(id, chunk);
            if (good.contains(key)) {
                continue;
            }
            ++(bad.contains(key) ? drift.changed : drift.missing);
            note(MaglevMap(*maglev_).update(key, chunk_of(*set.content, chunk)), id);
        }
    }
    return drift;
}

} // namespace weft::reconcile
