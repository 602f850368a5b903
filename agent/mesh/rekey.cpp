// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/rekey.hpp"

#include <algorithm>
#include <cerrno>

#include "weft/ktls/rekey.hpp"

namespace weft::mesh {
namespace {

/// When a full send buffer is asked again for room for one more record.
constexpr std::chrono::milliseconds kFull{20};

} // namespace

void Secrets::put(std::uint64_t id, ktls::Traffic traffic) {
    const std::lock_guard lock(mutex_);
    traffic_.insert_or_assign(id, std::move(traffic));
}

void Secrets::forget(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    traffic_.erase(id);
}

std::optional<ktls::Traffic> Secrets::find(std::uint64_t id) const {
    const std::lock_guard lock(mutex_);
    const auto found = traffic_.find(id);
    return found == traffic_.end() ? std::nullopt : std::optional(found->second);
}

Rekeyer::Rekeyer(Poller& poller, RelayLink& relay, Stats& stats, Secrets& secrets)
    : poller_(poller), relay_(relay), stats_(stats), secrets_(secrets),
      token_(poller.add([this](std::uint32_t) { retry(); })) {}

void Rekeyer::on_event(const weft_relay_entry& entry) {
    const bool known = secrets_.find(entry.id).has_value();
    if (entry.reason == WEFT_RELAY_REASON_KEY_LIMIT) {
        stats_.key_limit(known ? KeyEvent::kLimitRekeyed : KeyEvent::kLimitWarned);
        if (known) {
            want(entry.id, {.send = true, .request = (entry.detail & WEFT_RELAY_NEW_RECEIVE_KEY) != 0});
        }
    } else if (entry.reason == WEFT_RELAY_REASON_KEY_UPDATE) {
        if (!known) {
            return give_up(entry.id, "the agent that made this connection's keys is gone");
        }
        want(entry.id, {.send = entry.detail == 1, .receive = true});
    }
}

void Rekeyer::want(std::uint64_t id, const Job& job) {
    const auto [found, fresh] = jobs_.try_emplace(id);
    found->second.send = found->second.send || job.send;
    found->second.request = found->second.request || job.request;
    found->second.receive = found->second.receive || job.receive;
    if (!fresh) {
        return; // it is held already, or will be
    }
    if (auto* relay = relay_.client(); relay == nullptr || !relay->hold(id)) {
        give_up(id, "weft-relay cannot be told to hold it");
    }
}

void Rekeyer::on_held(ktls::RelayMessage& message) {
    const auto found = jobs_.find(message.head.id);
    if (found == jobs_.end()) {
        return;
    }
    if (message.head.status != WEFT_RELAY_OK || !message.peer.valid()) {
        jobs_.erase(found); // it has ended meanwhile
        return;
    }
    found->second.fd = std::move(message.peer);
    if (work(found->first, found->second)) {
        jobs_.erase(message.head.id);
    }
}

bool Rekeyer::work(std::uint64_t id, Job& job) {
    auto traffic = secrets_.find(id);
    if (!traffic) {
        return true; // its end was told
    }
    if (job.receive) {
        if (const auto changed = ktls::update_receive_key(job.fd.get(), *traffic); !changed) {
            give_up(id, changed.error().message());
            return true;
        }
        job.receive = false;
        job.done |= WEFT_RELAY_NEW_RECEIVE_KEY;
        secrets_.put(id, *traffic);
        stats_.key_limit(KeyEvent::kReceiveKey);
    }
    if (job.send) {
        const auto changed = ktls::update_send_key(job.fd.get(), *traffic, job.request);
        if (!changed && changed.error().code() == EAGAIN) {
            poller_.set_deadline(token_, Poller::Clock::now() + kFull);
            return false;
        }
        if (!changed) {
            give_up(id, changed.error().message());
            return true;
        }
        job.done |= WEFT_RELAY_NEW_SEND_KEY;
        secrets_.put(id, *traffic);
        stats_.key_limit(KeyEvent::kSendKey);
    }
    job.fd.reset(); // before it goes on: the relay's close has to be the last one
    if (auto* relay = relay_.client(); relay == nullptr || !relay->go_on(id, job.done)) {
        give_up(id, "weft-relay cannot be told to go on with it");
    }
    return true;
}

void Rekeyer::retry() {
    for (auto one = jobs_.begin(); one != jobs_.end();) {
        one = one->second.fd.valid() && work(one->first, one->second) ? jobs_.erase(one) : std::next(one);
    }
}

void Rekeyer::give_up(std::uint64_t id, const std::string& detail) {
    stats_.broken(id, "key-update", detail);
    relay_.drop(id);
}

void Rekeyer::forget(std::uint64_t id) {
    secrets_.forget(id);
    jobs_.erase(id);
}

} // namespace weft::mesh
