// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What is due, in which order, and when to look again. Judging a certificate and merging trust is in keeper_accept.cpp.
#include "agent/identity/keeper.hpp"

#include <algorithm>

namespace weft::identity {
namespace {

// The wall clock may jump: it is looked at this often at least.
constexpr std::chrono::seconds kLongestSleep{10};

bool source_is_away(const Error& error) {
    return error.code() == ECONNREFUSED || error.code() == ETIMEDOUT;
}

} // namespace

std::string_view phase_name(IdentityPhase phase) {
    switch (phase) {
    case IdentityPhase::kPending:
        return "pending";
    case IdentityPhase::kFailing:
        return "failing";
    case IdentityPhase::kExpired:
        return "expired";
    case IdentityPhase::kRevoked:
        return "revoked";
    case IdentityPhase::kValid:
        break;
    }
    return "valid";
}

Keeper::Keeper(std::unique_ptr<Source> source, std::unique_ptr<Federation> federation, KeeperOptions options)
    : source_(std::move(source)), federation_(std::move(federation)), options_(std::move(options)),
      random_(static_cast<std::minstd_rand::result_type>(options_.seed)) {
    if (!options_.wall) {
        options_.wall = [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); };
    }
    if (!options_.steady) {
        options_.steady = [] { return Steady::now(); };
    }
    const auto wake = [this] {
        std::function<void()> call;
        {
            const std::scoped_lock lock(mutex_);
            call = wake_;
        }
        if (call) {
            call();
        }
    };
    source_->listen(wake);
    if (federation_) {
        federation_->listen(wake);
    }
}

Keeper::~Keeper() {
    // Their threads call us: they end while everything of ours is still there.
    source_.reset();
    federation_.reset();
}

void Keeper::on_wake(std::function<void()> wake) {
    const std::scoped_lock lock(mutex_);
    wake_ = std::move(wake);
}

void Keeper::set_wanted(std::set<SpiffeId> ids) {
    std::function<void()> wake;
    {
        const std::scoped_lock lock(mutex_);
        wanted_ = std::move(ids);
        wake = wake_;
    }
    if (wake) {
        wake();
    }
}

Result<> Keeper::usable(const SpiffeId& id, const Entry& entry, Time now) const {
    const auto why = entry.last_error.empty() ? source_error() : entry.last_error;
    if (!entry.credentials) {
        return failure(ENOKEY, "no certificate for {} yet{}{}", id.to_string(), why.empty() ? "" : ": ", why);
    }
    if (trust_ && trust_->revocations.contains(id.to_string(), entry.serial)) {
        return failure(EKEYREVOKED, "the certificate {} of {} is revoked", entry.serial, id.to_string());
    }
    if (now >= entry.not_after) {
        return failure(EKEYEXPIRED, "the certificate of {} expired at {}{}{}", id.to_string(),
                       pki::time_text(entry.not_after), why.empty() ? "" : " and cannot be renewed: ", why);
    }
    return {};
}

Result<CredentialsPtr> Keeper::credentials(const SpiffeId& id) const {
    const auto now = options_.wall();
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) {
        return failure(ENOKEY, "{} is no identity of this node's workloads", id.to_string());
    }
    WEFT_TRY(usable(id, found->second, now));
    return found->second.credentials;
}

std::vector<IdentityState> Keeper::states() const {
    const auto now = options_.wall();
    std::vector<IdentityState> all;
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, entry] : entries_) {
        IdentityState state{id,
                            IdentityPhase::kValid,
                            entry.serial,
                            entry.not_before,
                            entry.not_after,
                            source_->name(),
                            entry.last_error};
        if (const auto use = usable(id, entry, now); !use) {
            state.phase = use.error().code() == ENOKEY        ? IdentityPhase::kPending
                          : use.error().code() == EKEYREVOKED ? IdentityPhase::kRevoked
                                                              : IdentityPhase::kExpired;
        } else if (!entry.last_error.empty() ||
                   (!source_->renews_itself() && !source_error().empty() && entry.stale(now))) {
            state.phase = IdentityPhase::kFailing;
        }
        if (state.last_error.empty() && state.phase != IdentityPhase::kValid) {
            state.last_error = source_error();
        }
        all.push_back(std::move(state));
    }
    return all;
}

bool Keeper::revoked(const SpiffeId& id, std::string_view serial) const {
    const std::scoped_lock lock(mutex_);
    return trust_ && trust_->revocations.contains(id.to_string(), serial);
}

TrustPtr Keeper::trust() const {
    const std::scoped_lock lock(mutex_);
    return trust_;
}

std::vector<std::string> Keeper::troubles() const {
    std::vector<std::string> all;
    if (federation_) {
        all = federation_->current()->troubles;
    }
    const std::scoped_lock lock(mutex_);
    if (!source_error().empty()) {
        all.insert(all.begin(), source_error());
    }
    return all;
}

void Keeper::tell(const SpiffeId& id) const {
    if (identity_changed_) {
        identity_changed_(id);
    }
}

std::chrono::milliseconds Keeper::pause_after(unsigned failures) {
    const auto doubled = options_.first_pause * (1U << std::min(failures > 0 ? failures - 1 : 0U, 16U));
    const auto pause = std::min<std::chrono::milliseconds>(doubled, options_.longest_pause);
    return pause * std::uniform_int_distribution<int>(80, 120)(random_) / 100;
}

void Keeper::update_wanted() {
    std::vector<SpiffeId> gone;
    {
        const std::scoped_lock lock(mutex_);
        for (const auto& id : wanted_) {
            entries_.try_emplace(id);
        }
        for (auto entry = entries_.begin(); entry != entries_.end();) {
            if (wanted_.contains(entry->first)) {
                ++entry;
            } else {
                gone.push_back(entry->first);
                entry = entries_.erase(entry);
            }
        }
    }
    for (const auto& id : gone) {
        tell(id);
    }
}

bool Keeper::source_ready(Time now, Steady::time_point moment) {
    if (moment < source_next_try_) {
        return false;
    }
    const auto done = source_->upkeep(now);
    const std::scoped_lock lock(mutex_);
    if (!done) {
        upkeep_error_ = done.error().within(source_->name()).message();
        source_next_try_ = moment + pause_after(++source_failures_);
        return source_->renews_itself(); // what it pushed before is still there
    }
    upkeep_error_.clear();
    if (obtain_error_.empty()) {
        source_failures_ = 0;
    }
    return true;
}

bool Keeper::due(const Entry& entry, Time now, Steady::time_point moment) const {
    if (moment < entry.next_try) {
        return false;
    }
    if (!entry.credentials || entry.generation != source_->generation()) {
        return true;
    }
    if (source_->renews_itself()) {
        return false;
    }
    return entry.stale(now) || (entry.rotate_at && moment >= *entry.rotate_at) ||
           (trust_ && trust_->revocations.serials.contains(entry.serial));
}

void Keeper::renew_due(Time now, Steady::time_point moment) {
    std::vector<SpiffeId> ids;
    {
        const std::scoped_lock lock(mutex_);
        for (const auto& [id, entry] : entries_) {
            if (due(entry, now, moment)) {
                ids.push_back(id);
            }
        }
    }
    for (const auto& id : ids) {
        const auto generation = source_->generation(); // before asking: what comes in between is asked for again
        auto svid = source_->obtain(id);
        if (!svid && source_is_away(svid.error())) {
            const std::scoped_lock lock(mutex_);
            obtain_error_ = svid.error().within(source_->name()).message();
            source_next_try_ = moment + pause_after(++source_failures_);
            return;
        }
        auto accepted = svid ? accept(id, std::move(*svid), now) : std::unexpected(svid.error());
        {
            const std::scoped_lock lock(mutex_);
            obtain_error_.clear();
            const auto found = entries_.find(id);
            auto& entry = found->second; // only run() removes entries
            if (!accepted) {
                entry.last_error = accepted.error().within(source_->name()).message();
                entry.next_try = moment + pause_after(++entry.failures);
                // A source that renews by itself is asked again when it has something new.
                entry.generation = entry.credentials && source_->renews_itself() ? generation : entry.generation;
                continue;
            }
            entry = std::move(*accepted);
            entry.generation = generation;
        }
        tell(id);
    }
    if (ids.empty()) {
        const std::scoped_lock lock(mutex_);
        obtain_error_.clear(); // nobody needs it
    }
}

void Keeper::tell_lapsed(Time now) {
    std::vector<SpiffeId> changed;
    {
        const std::scoped_lock lock(mutex_);
        for (auto& [id, entry] : entries_) {
            const bool over = entry.credentials && now >= entry.not_after;
            if (over != entry.told_lapsed) {
                changed.push_back(id);
            }
            entry.told_lapsed = over; // also back: a clock that was ahead is put right, and nothing is renewed for that
        }
    }
    for (const auto& id : changed) {
        tell(id);
    }
}

Steady::time_point Keeper::next_run(Time now, Steady::time_point moment) const {
    auto next = moment + kLongestSleep;
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, entry] : entries_) {
        const bool pushed = source_->renews_itself();
        auto at = next;
        if (!entry.credentials || entry.generation != source_->generation() || (!pushed && entry.stale(now))) {
            at = pushed ? entry.next_try : std::max(entry.next_try, source_next_try_);
        } else if (!pushed) {
            at = moment + std::min<Steady::duration>(entry.renew_at - now, kLongestSleep);
        }
        if (entry.rotate_at && !source_->renews_itself()) {
            at = std::min(at, std::max({*entry.rotate_at, entry.next_try, source_next_try_}));
        }
        next = std::min(next, at);
    }
    if (source_failures_ > 0) {
        next = std::min(next, source_next_try_);
    }
    return std::max(next, moment);
}

Steady::time_point Keeper::run() {
    const auto now = options_.wall();
    const auto moment = options_.steady();
    const bool ready = source_ready(now, moment);
    const auto before = source_trust_;
    update_trust();
    update_wanted();
    if (ready) {
        renew_due(now, moment);
    }
    tell_lapsed(now);
    // A bundle that was just taken over is acknowledged by the next upkeep().
    return source_trust_ != before ? moment : next_run(now, moment);
}

} // namespace weft::identity
