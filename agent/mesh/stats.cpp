// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/stats.hpp"

#include <algorithm>
#include <bit>
#include <ctime>
#include <utility>

namespace weft::mesh {
namespace {

/// Identities are those of pods, so there are not many; a bound all the same.
constexpr std::size_t kMostPrincipals = 4096;

PrincipalsKey principals_of(const ConnectionFacts& facts) {
    const bool proven = facts.carrier != Carrier::kPlaintext;
    PrincipalsKey key{facts.side, proven, facts.workload ? facts.workload->id.to_string() : "unknown",
                      proven && facts.peer ? facts.peer->to_string() : "unknown"};
    if (facts.side == Side::kServer) {
        std::swap(key.source, key.destination);
    }
    return key;
}

} // namespace

std::string_view failure_name(MeshFailure failure) {
    switch (failure) {
#define WEFT_MESH_FAILURE_CASE(name, word, meaning)                                                                    \
    case MeshFailure::name:                                                                                            \
        return word;
        WEFT_MESH_FAILURES(WEFT_MESH_FAILURE_CASE)
#undef WEFT_MESH_FAILURE_CASE
    case MeshFailure::kCount:
        break;
    }
    return "unknown";
}

std::string_view carrier_name(Carrier carrier) {
    switch (carrier) {
    case Carrier::kRelay:
        return "relay";
    case Carrier::kUserspace:
        return "userspace";
    case Carrier::kPlaintext:
        return "plaintext";
    }
    return "unknown";
}

std::int64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Stats::Stats(OnFailure on_failure)
    : on_failure_(std::move(on_failure)), next_(static_cast<std::uint64_t>(monotonic_ns())) {}

void Stats::failed(const ConnectionFacts& facts, ktls::Failure reason, const std::string& detail) {
    failed(facts, ktls::failure_name(reason), detail);
}

void Stats::failed(const ConnectionFacts& facts, MeshFailure reason, const std::string& detail) {
    failed(facts, failure_name(reason), detail);
}

void Stats::failed(const ConnectionFacts& facts, std::string_view reason, const std::string& detail) {
    {
        const std::lock_guard lock(mutex_);
        ++failures_[{facts.side, std::string(reason)}];
    }
    if (tracing_.load(std::memory_order_relaxed)) {
        tell(facts, Moment::kFailed, reason, detail, {}, 0);
    }
    if (on_failure_) {
        on_failure_({facts, std::string(reason), detail});
    }
}

std::uint64_t Stats::carried(ConnectionFacts facts) {
    facts.carried_ns = monotonic_ns();
    moment(facts, Moment::kCarried, {}, facts.carried_ns);
    auto principals = principals_of(facts);
    const std::lock_guard lock(mutex_);
    ++count_of(std::move(principals)).opened;
    ++totals_.opened[{facts.side, facts.carrier}];
    totals_.resumed += facts.resumed ? 1 : 0;
    if (facts.handshake_ns != 0) {
        const auto took =
            static_cast<std::uint64_t>(std::max<std::int64_t>(facts.handshake_ns - facts.wire_ns, 0)) / 1000;
        const auto bucket =
            std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(took)), totals_.handshake_us.size() - 1);
        ++totals_.handshake_us[bucket];
        totals_.handshake_sum_us += took;
    }
    const std::uint64_t id = facts.id != 0 ? facts.id : next_++;
    facts.id = id;
    connections_.emplace(id, std::move(facts));
    return id;
}

std::uint64_t Stats::reserve() {
    const std::lock_guard lock(mutex_);
    return next_++;
}

void Stats::restored(ConnectionFacts&& facts) {
    const std::lock_guard lock(mutex_);
    connections_.try_emplace(facts.id, std::move(facts));
}

PrincipalsCount& Stats::count_of(PrincipalsKey key) {
    if (principals_.size() >= kMostPrincipals && !principals_.contains(key)) {
        key.source = key.destination = "others";
    }
    return principals_[std::move(key)];
}

void Stats::count_end(const ConnectionFacts& facts, const Ending& ending) {
    auto& count = count_of(principals_of(facts));
    ++count.closed;
    count.sent += ending.to_peer;
    count.received += ending.to_app;
}

std::optional<ConnectionFacts> Stats::take_out(std::uint64_t id, const Ending& ending) {
    const std::lock_guard lock(mutex_);
    auto found = connections_.extract(id);
    if (!found) {
        return std::nullopt;
    }
    count_end(found.mapped(), ending);
    return std::move(found.mapped());
}

void Stats::ended(std::uint64_t id, const Ending& ending) {
    if (const auto facts = take_out(id, ending); facts && tracing_.load(std::memory_order_relaxed)) {
        tell(*facts, Moment::kEnded, ending.reason, {}, ending, 0);
    }
}

void Stats::broken(std::uint64_t id, std::string_view reason, const std::string& detail, const Ending& ending) {
    if (const auto facts = take_out(id, ending)) {
        failed(*facts, reason, detail);
    }
}

void Stats::revoked(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = connections_.find(id);
    if (found != connections_.end() && !std::exchange(found->second.revoked, true)) {
        ++totals_.revoked[found->second.side];
    }
}

void Stats::key_limit(KeyEvent event) {
    const std::lock_guard lock(mutex_);
    ++totals_.keys[static_cast<std::size_t>(event)];
}

std::map<std::uint64_t, ConnectionFacts> Stats::connections() const {
    const std::lock_guard lock(mutex_);
    return connections_;
}

bool Stats::in_relay(std::uint64_t id) const {
    const std::lock_guard lock(mutex_);
    const auto found = connections_.find(id);
    return found != connections_.end() && found->second.in_relay;
}

std::set<std::uint64_t> Stats::all_in_relay() const {
    std::set<std::uint64_t> all;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, facts] : connections_) {
        if (facts.in_relay) {
            all.insert(id);
        }
    }
    return all;
}

std::map<std::pair<Side, std::string>, std::uint64_t> Stats::failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
}

Stats::Totals Stats::totals() const {
    const std::lock_guard lock(mutex_);
    return totals_;
}

std::map<PrincipalsKey, PrincipalsCount> Stats::principals() const {
    const std::lock_guard lock(mutex_);
    return principals_;
}

void Stats::keep_principals(const std::set<SpiffeId>& own) {
    std::set<std::string> names;
    for (const auto& id : own) {
        names.insert(id.to_string());
    }
    const std::lock_guard lock(mutex_);
    std::erase_if(principals_, [&](const auto& one) {
        return !names.contains(one.first.side == Side::kClient ? one.first.source : one.first.destination);
    });
}

void Stats::trace(OnMoment on_moment) {
    const std::lock_guard lock(moment_mutex_);
    on_moment_ = std::move(on_moment);
    tracing_.store(static_cast<bool>(on_moment_), std::memory_order_relaxed);
}

void Stats::tell(const ConnectionFacts& facts, Moment moment, std::string_view word, std::string_view detail,
                 const Ending& ending, std::int64_t at_ns) {
    const MomentReport report{moment, at_ns != 0 ? at_ns : monotonic_ns(), facts, word, detail, ending};
    const std::lock_guard lock(moment_mutex_);
    if (on_moment_) {
        on_moment_(report);
    }
}

} // namespace weft::mesh
