// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/reconcile/service_writer.hpp"

#include <netinet/in.h>

#include <optional>
#include <utility>

namespace weft::reconcile {
namespace {

using compiler::ServiceFragment;

weft_member_key member_key(std::uint64_t service, const weft_addr_port& backend) {
    return {service, backend, 0};
}

KeySet<weft_addr_port> frontend_keys(const FragmentPtr& fragment) {
    KeySet<weft_addr_port> keys;
    for (const auto& [address, service] : fragment ? fragment->frontends : decltype(fragment->frontends){}) {
        keys.insert(address);
    }
    return keys;
}

KeySet<weft_addr_port> member_keys(const FragmentPtr& fragment) {
    return fragment ? KeySet<weft_addr_port>(fragment->members.begin(), fragment->members.end())
                    : KeySet<weft_addr_port>{};
}

// The UDP backends to which a socket may be connected through this Service.
KeySet<weft_addr_port> udp_backends(const FragmentPtr& fragment) {
    KeySet<weft_addr_port> backends;
    if (fragment == nullptr || fragment->protocol != IPPROTO_UDP) {
        return backends;
    }
    if (!fragment->members.empty()) {
        return member_keys(fragment);
    }
    for (const weft_slot& slot : fragment->slots) {
        backends.insert(slot.backend);
    }
    return backends;
}

std::string title(const ServiceFragment& fragment) {
    return fmt::format("service {}/{}{}{}{}", fragment.namespace_name, fragment.name,
                       fragment.port_name.empty() ? "" : " port ", fragment.port_name,
                       fragment.scope == "external" ? " (external)" : "");
}

} // namespace

Result<> ServiceWriter::bind(const bpf::ConfigMaps& maps) {
    owners_.clear();
    previous_ = std::exchange(applied_, {});
    found_members_.clear();
    leaving_.clear();
    changed_.clear();
    replaced_.clear();
    failed_.clear();
    member_io_ = maps.member;
    WEFT_TRY(frontends_.bind(maps.service));
    WEFT_TRY(sets_.bind(maps.slot, maps.maglev));
    found_frontends_ = !frontends_.actual().empty();
    return members().for_each([&](const weft_member_key& key, const std::uint32_t&) { found_members_.insert(key); });
}

FragmentPtr ServiceWriter::applied(std::uint64_t id) const {
    const auto found = applied_.find(id);
    return found == applied_.end() ? nullptr : found->second;
}

void ServiceWriter::fail(const ServiceFragment& fragment, const std::string& map, const Error& error,
                         ApplyStats& stats) {
    failed_.insert(fragment.service_id);
    stats.failures.push_back({title(fragment), map, Error(error.code(), error.message() + "; it stays as it was")});
}

void ServiceWriter::prepare(const Services& desired, ApplyStats& stats) {
    changed_.clear();
    replaced_.clear();
    failed_.clear();
    Services::for_each_change(applied_, desired,
                              [&](std::uint64_t id, const FragmentPtr* before, const FragmentPtr* wanted) {
                                  if (wanted != nullptr && prepare_one(*wanted, before ? *before : nullptr, stats)) {
                                      changed_.emplace(id, *wanted);
                                  }
                              });
}

bool ServiceWriter::prepare_one(const FragmentPtr& fragment, const FragmentPtr& before, ApplyStats& stats) {
    if (auto acquired = sets_.acquire(fragment, stats); !acquired) {
        fail(*fragment, acquired.error().map, acquired.error().error, stats);
        return false;
    }
    const KeySet<weft_addr_port> known = member_keys(before);
    KeySet<weft_addr_port> fresh;
    for (const weft_addr_port& backend : fragment->members) {
        const weft_member_key key = member_key(fragment->service_id, backend);
        if (known.contains(backend) || fresh.contains(backend) || found_members_.contains(key)) {
            continue;
        }
        if (auto written = members().update(key, 1); !written) {
            for (const weft_addr_port& undo : fresh) {
                stats.removed += members().remove(member_key(fragment->service_id, undo)).has_value();
            }
            if (!fragment->slots.empty()) {
                sets_.release(fragment->set_id);
            }
            fail(*fragment, member_io_->name(), written.error(), stats);
            return false;
        }
        ++stats.written;
        fresh.insert(backend);
    }
    return true;
}

void ServiceWriter::flip(const Services&, ApplyStats& stats) {
    for (const auto& [id, fragment] : changed_) {
        const FragmentPtr before = applied(id);
        if (!flip_one(fragment, stats)) {
            withdraw(fragment, before, stats);
            continue;
        }
        for (const weft_addr_port& backend : fragment->members) {
            found_members_.erase(member_key(id, backend));
        }
        replaced_.emplace(id, before);
        applied_.insert_or_assign(id, fragment);
        ++stats.services_changed;
    }
}

bool ServiceWriter::flip_one(const FragmentPtr& fragment, ApplyStats& stats) {
    struct Before {
        weft_addr_port address;
        std::optional<weft_service> value;
        std::optional<std::uint64_t> owner;
    };
    std::vector<Before> undo;
    for (const auto& [address, value] : fragment->frontends) {
        const weft_service* present = frontends_.find(address);
        const auto owner = owners_.find(address);
        Before before{address, present ? std::optional(*present) : std::nullopt,
                      owner == owners_.end() ? std::nullopt : std::optional(owner->second)};
        if (auto written = frontends_.put(address, value, stats); !written) {
            for (const Before& old : undo) {
                // Putting an old value back needs no room, nor does removing a new one: a failure here is left to
                // repair().
                (void)(old.value ? frontends_.put(old.address, *old.value, stats)
                                 : frontends_.drop(old.address, stats));
                if (old.owner) {
                    owners_[old.address] = *old.owner;
                } else {
                    owners_.erase(old.address);
                }
            }
            fail(*fragment, frontends_.name(), written.error(), stats);
            return false;
        }
        undo.push_back(before);
        owners_[address] = fragment->service_id;
    }
    return true;
}

// Takes back what prepare() wrote for a Service whose frontends could not be flipped.
void ServiceWriter::withdraw(const FragmentPtr& fragment, const FragmentPtr& before, ApplyStats& stats) {
    const KeySet<weft_addr_port> known = member_keys(before);
    for (const weft_addr_port& backend : member_keys(fragment)) {
        const weft_member_key key = member_key(fragment->service_id, backend);
        if (!known.contains(backend) && !found_members_.contains(key)) {
            stats.removed += members().remove(key).has_value();
        }
    }
    if (!fragment->slots.empty()) {
        sets_.release(fragment->set_id);
    }
}

void ServiceWriter::retire(const Services& desired, ApplyStats& stats) {
    std::vector<std::uint64_t> gone;
    Services::for_each_change(applied_, desired,
                              [&](std::uint64_t id, const FragmentPtr* before, const FragmentPtr* wanted) {
                                  if (wanted == nullptr) {
                                      replaced_.emplace(id, *before);
                                      gone.push_back(id);
                                  }
                              });
    if (failed_.empty()) {
        applied_ = desired;
    }
    for (const std::uint64_t id : gone) {
        applied_.erase(id);
    }
    std::vector<FragmentPtr> leaving = std::exchange(leaving_, {});
    for (const auto& [id, before] : replaced_) {
        if (before != nullptr) {
            leaving.push_back(before);
        }
    }
    // Frontends of all Services first: nothing may lead to a set or member that is removed after.
    std::vector<FragmentPtr> left;
    for (FragmentPtr& before : leaving) {
        const FragmentPtr now = applied(before->service_id);
        (retire_frontends(before, now, stats) ? left : leaving_).push_back(std::move(before));
    }
    for (const FragmentPtr& before : left) {
        retire_members(before, applied(before->service_id), stats);
        if (!before->slots.empty()) {
            sets_.release(before->set_id);
        }
    }
    report_moved(stats);
    retire_found(desired, stats);
    changed_.clear();
    replaced_.clear();
}

bool ServiceWriter::retire_frontends(const FragmentPtr& before, const FragmentPtr& now, ApplyStats& stats) {
    const KeySet<weft_addr_port> kept = frontend_keys(now);
    bool all = true;
    for (const auto& [address, value] : before->frontends) {
        const auto owner = owners_.find(address);
        if (kept.contains(address) || owner == owners_.end() || owner->second != before->service_id) {
            continue; // another Service may have taken the address over in this round
        }
        if (auto dropped = frontends_.drop(address, stats); !dropped) {
            all = false;
            stats.failures.push_back({title(*before), frontends_.name(), dropped.error()});
            continue;
        }
        owners_.erase(owner);
    }
    return all;
}

void ServiceWriter::retire_members(const FragmentPtr& before, const FragmentPtr& now, ApplyStats& stats) {
    const KeySet<weft_addr_port> kept = member_keys(now);
    for (const weft_addr_port& backend : member_keys(before)) {
        if (kept.contains(backend)) {
            continue;
        }
        if (auto removed = members().remove(member_key(before->service_id, backend)); !removed) {
            stats.failures.push_back({title(*before), member_io_->name(), removed.error()});
        } else {
            ++stats.removed;
        }
    }
    const KeySet<weft_addr_port> usable = udp_backends(now);
    for (const weft_addr_port& backend : udp_backends(before)) {
        if (!usable.contains(backend)) {
            stats.removed_udp_backends.push_back({before->service_id, backend});
        }
    }
}

// New maps do not tell what the old ones had: sockets may still be connected to what is in neither.
void ServiceWriter::report_moved(ApplyStats& stats) {
    for (const auto& [id, before] : std::exchange(previous_, {})) {
        const FragmentPtr now = applied(id);
        if (before == now) {
            continue;
        }
        const KeySet<weft_addr_port> usable = udp_backends(now);
        for (const weft_addr_port& backend : udp_backends(before)) {
            if (!usable.contains(backend)) {
                stats.removed_udp_backends.push_back({id, backend});
            }
        }
    }
}

// What an earlier agent left and nobody claimed. A Service that failed keeps all that it may still be using.
void ServiceWriter::retire_found(const Services& desired, ApplyStats& stats) {
    if (found_frontends_) {
        KeySet<weft_addr_port> kept;
        for (const std::uint64_t id : failed_) {
            if (const auto found = desired.find(id); found != desired.end()) {
                kept.merge(frontend_keys(found->second));
            }
        }
        found_frontends_ = !kept.empty();
        frontends_.drop_all(
            frontends_.select([&](const weft_addr_port& key) { return !owners_.contains(key) && !kept.contains(key); }),
            stats, [&](const weft_addr_port& key, const Error& error) {
                found_frontends_ = true;
                stats.failures.push_back({"frontend " + to_string(key), frontends_.name(), error});
            });
    }
    std::erase_if(found_members_, [&](const weft_member_key& key) {
        if (failed_.contains(key.service) || !members().remove(key).has_value()) {
            return false;
        }
        ++stats.removed;
        if (key.backend.proto == IPPROTO_UDP) {
            stats.removed_udp_backends.push_back({key.service, key.backend});
        }
        return true;
    });
    std::unordered_set<std::uint64_t> live;
    if (sets_.has_unclaimed()) {
        for (const auto& [address, value] : frontends_.actual()) {
            live.insert(value.set);
        }
    }
    sets_.sweep(live, stats);
}

Result<> ServiceWriter::mend(DriftReport& report) {
    WEFT_TRY(sets_.mend(report));
    compiler::Image<weft_member_key, std::uint32_t> expected;
    for (const auto& [id, fragment] : applied_) {
        for (const weft_addr_port& backend : fragment->members) {
            expected.emplace(member_key(id, backend), 1);
        }
    }
    for (const FragmentPtr& fragment : leaving_) {
        for (const weft_addr_port& backend : fragment->members) {
            expected.emplace(member_key(fragment->service_id, backend), 1);
        }
    }
    for (const weft_member_key& key : found_members_) {
        expected.emplace(key, 1);
    }
    const auto note = [&](const std::string& map) {
        return [&report, map](const Error& error) { report.failures.push_back({"repair", map, error}); };
    };
    WEFT_ASSIGN(const MapDrift member_drift, reconcile::mend(members(), expected, note(member_io_->name())));
    if (member_drift.total() != 0) {
        report.maps[member_io_->name()] = member_drift;
    }
    WEFT_ASSIGN(const MapDrift frontend_drift, frontends_.mend_map(note(frontends_.name())));
    if (frontend_drift.total() != 0) {
        report.maps[frontends_.name()] = frontend_drift;
    }
    return {};
}

} // namespace weft::reconcile
