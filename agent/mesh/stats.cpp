// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/stats.hpp"

#include <algorithm>
#include <bit>
#include <ctime>

namespace weft::mesh {

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
    if (on_failure_) {
        on_failure_({facts, std::string(reason), detail});
    }
}

std::uint64_t Stats::carried(ConnectionFacts facts) {
    facts.carried_ns = monotonic_ns();
    const std::lock_guard lock(mutex_);
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

void Stats::restored(ConnectionFacts facts) {
    const std::lock_guard lock(mutex_);
    connections_.try_emplace(facts.id, std::move(facts));
}

void Stats::ended(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    connections_.erase(id);
}

void Stats::broken(std::uint64_t id, std::string_view reason, const std::string& detail) {
    ConnectionFacts facts;
    {
        const std::lock_guard lock(mutex_);
        auto found = connections_.extract(id);
        if (!found) {
            return;
        }
        facts = std::move(found.mapped());
    }
    failed(facts, reason, detail);
}

void Stats::key_limit(KeyEvent event) {
    const std::lock_guard lock(mutex_);
    ++totals_.keys[static_cast<std::size_t>(event)];
}

void Stats::ended_in_relay() {
    const std::lock_guard lock(mutex_);
    std::erase_if(connections_, [](const auto& one) { return one.second.in_relay; });
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

std::map<std::pair<Side, std::string>, std::uint64_t> Stats::failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
}

Stats::Totals Stats::totals() const {
    const std::lock_guard lock(mutex_);
    return totals_;
}

} // namespace weft::mesh
