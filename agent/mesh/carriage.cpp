// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/carriage.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "agent/mesh/label.hpp"
#include "agent/mesh/sockets.hpp"
#include "weft/ktls/install.hpp"

namespace weft::mesh {
namespace {

/// After the link to weft-relay broke: a relay that lives has named what it carries by then.
constexpr std::chrono::seconds kHeardAgain{2};

Ending ending_of(const weft_relay_entry& entry) {
    return {std::string(ktls::relay_reason_name(entry.reason)), entry.detail, entry.to_peer, entry.to_app};
}

Ending ending_of(const ktls::UserspaceRelay& relay) {
    return {std::string(ktls::relay_reason_name(relay.reason())), relay.detail(), relay.to_peer(), relay.to_app()};
}

Ending ending_of(const PlainRelay& relay) {
    return {relay.finished() ? "finished" : "reset", 0, relay.to_peer(), relay.to_app()};
}

} // namespace

Carriage::Carriage(Poller& poller, Stats& stats, CarriageOptions options)
    : poller_(poller), stats_(stats), options_(std::move(options)),
      relay_(
          poller, options_.relay_socket, options_.watch,
          {.message = [this](ktls::RelayMessage& message) { answered(message); }, .lost = [this] { lost_relay(); }}) {
    if (options_.watch && options_.secrets != nullptr) {
        rekeyer_.emplace(poller_, relay_, stats_, *options_.secrets);
    }
    if (options_.watch) {
        unheard_timer_ = poller_.add([this](std::uint32_t) { end_unheard(); });
    }
}

Carriage::~Carriage() = default;

bool Carriage::kernel_takes(const Joined& joined) const {
    return options_.kernel_tls &&
           (!joined.handshake || (!joined.handshake->established().left_over &&
                                  std::ranges::find(options_.ciphers, joined.handshake->established().traffic.cipher) !=
                                      options_.ciphers.end()));
}

void Carriage::lost_relay() {
    for (auto& [id, joined] : handed_over_) {
        stats_.ended(id);
        give_up(joined, "weft-relay has gone away");
    }
    handed_over_.clear();
    if (rekeyer_) {
        rekeyer_->relay_lost();
    }
    if (options_.watch) {
        unheard_.merge(stats_.all_in_relay());
        poller_.set_deadline(unheard_timer_, Poller::Clock::now() + kHeardAgain);
    }
}

void Carriage::end_unheard() {
    for (const auto id : std::exchange(unheard_, {})) {
        stats_.ended(id, {.reason = "relay-gone"}); // with all that it carried
    }
}

void Carriage::listed(const ktls::RelayMessage& message) {
    for (std::size_t i = 0; i < message.entries.size(); ++i) {
        if (message.entries[i].state != WEFT_RELAY_CARRIED) {
            continue;
        }
        const auto id = message.entries[i].id;
        unheard_.erase(id);
        auto label = read_label(message.labels[i]);
        if (auto* facts = std::get_if<ConnectionFacts>(&label); facts != nullptr) {
            facts->id = id;
            stats_.restored(std::move(*facts));
        } else {
            relay_.drop(id); // nobody knows who it is, so nobody could revoke it
        }
    }
}

void Carriage::on_event(const weft_relay_entry& entry) {
    unheard_.erase(entry.id);
    if (entry.state != WEFT_RELAY_ENDED) {
        if (rekeyer_) {
            rekeyer_->on_event(entry);
        }
        return;
    }
    if (rekeyer_) {
        rekeyer_->forget(entry.id);
    }
    switch (entry.reason) {
    case WEFT_RELAY_REASON_KEY_LIMIT:
        stats_.key_limit(KeyEvent::kLimitClosed);
        [[fallthrough]];
    case WEFT_RELAY_REASON_KEY_UPDATE:
    case WEFT_RELAY_REASON_TRUNCATED:
    case WEFT_RELAY_REASON_PEER_ALERT:
    case WEFT_RELAY_REASON_BAD_RECORD:
    case WEFT_RELAY_REASON_RELAY_ERROR:
        return stats_.broken(entry.id, ktls::relay_reason_name(entry.reason), fmt::format("detail {}", entry.detail),
                             ending_of(entry));
    default:
        return stats_.ended(entry.id, ending_of(entry));
    }
}

void Carriage::answered(ktls::RelayMessage& message) {
    if (message.head.op == WEFT_RELAY_LIST) {
        return listed(message);
    }
    if (message.head.op == WEFT_RELAY_EVENT) {
        std::ranges::for_each(message.entries, [this](const auto& entry) { on_event(entry); });
        return;
    }
    if (message.head.op == WEFT_RELAY_HOLD && rekeyer_) {
        return rekeyer_->on_held(message);
    }
    if (message.head.op == WEFT_RELAY_CLOSE && message.head.status == WEFT_RELAY_UNKNOWN_ID &&
        stats_.in_relay(message.head.id)) {
        return relay_.drop_later(message.head.id); // a revocation must not be overtaken by the hand-over that it is for
    }
    const auto found = handed_over_.find(message.head.id);
    if (message.head.op != WEFT_RELAY_HAND_OVER || found == handed_over_.end()) {
        return;
    }
    if (message.head.status == WEFT_RELAY_OK) {
        stats_.moment(found->second.facts, Moment::kTaken);
    } else {
        stats_.ended(found->first);
        give_up(found->second, std::string(ktls::relay_status_text(message.head.status)));
    }
    handed_over_.erase(found); // closes this process's copies
}

void Carriage::take(Joined joined) {
    if (kernel_takes(joined) && relay_.client() != nullptr) {
        auto left = take_in_kernel(std::move(joined));
        if (!left) {
            return;
        }
        joined = std::move(*left);
    }
    take_here(std::move(joined));
}

std::optional<Joined> Carriage::take_in_kernel(Joined joined) {
    std::uint32_t flags = 0;
    std::uint64_t limit = 0;
    bool rekey = false;
    ktls::Traffic traffic;
    if (joined.handshake) {
        if (const auto installed = ktls::install(joined.wire.get(), joined.handshake->established().traffic);
            !installed) {
            if (installed.error().untouched) {
                joined.facts.why_not_kernel = ktls::install_error_name(installed.error().error);
                return joined;
            }
            give_up(joined, std::string(ktls::install_error_name(installed.error().error)));
            return std::nullopt;
        }
        flags = WEFT_RELAY_PEER_TLS;
        rekey = options_.rekey && joined.handshake->established().rekey;
        if (rekey) {
            flags |= WEFT_RELAY_REKEY;
        } else if (options_.key_limit.close) {
            flags |= WEFT_RELAY_LIMIT_CLOSE;
        }
        limit = options_.key_limit.bytes;
        if (rekey) {
            traffic = joined.handshake->established().traffic;
        }
        joined.facts.carrier = Carrier::kRelay;
        joined.handshake.reset(); // the keys are the kernel's now
        stats_.moment(joined.facts, Moment::kKeys);
    }
    joined.facts.in_relay = true;
    const std::uint64_t id = joined.facts.id = stats_.carried(joined.facts);
    if (rekey && options_.secrets != nullptr) {
        options_.secrets->put(id, std::move(traffic)); // before the relay can say anything about it
    }
    auto* relay = relay_.client();
    const auto sent = relay == nullptr ? Result<>(failure(EPIPE, "weft-relay has gone away"))
                                       : relay->hand_over(id, joined.app.get(), joined.wire.get(), flags, limit,
                                                          write_label(joined.facts));
    if (!sent) {
        stats_.ended(id);
        give_up(joined, sent.error().message());
        return std::nullopt;
    }
    handed_over_.emplace(id, std::move(joined));
    return std::nullopt;
}

void Carriage::take_here(Joined joined) {
    if (std::exchange(joined.kept, false)) {
        relay_.drop(joined.facts.id); // from now on its bytes pass through this process, and end with it
    }
    auto carried = [&]() -> CarriedPtr {
        const int app = joined.app.get();
        const int wire = joined.wire.get();
        if (joined.handshake) {
            joined.facts.carrier = Carrier::kUserspace;
            return CarriedPtr(new Carried{std::move(joined.app), std::move(joined.wire),
                                          ktls::UserspaceRelay(joined.handshake->release(), app, wire), joined.facts});
        }
        return CarriedPtr(
            new Carried{std::move(joined.app), std::move(joined.wire), PlainRelay(app, wire), joined.facts});
    }();
    carried->id = stats_.carried(carried->facts);
    const auto token = poller_.add({});
    poller_.set_handler(token, [this, token](std::uint32_t events) { step(token, events); });
    const bool watched = poller_.watch(token, carried->app.get(), ktls::UserspaceRelay::kEvents).has_value() &&
                         poller_.watch(token, carried->wire.get(), ktls::UserspaceRelay::kEvents).has_value();
    carried_.emplace(token, std::move(carried));
    if (!watched) {
        return end(token, false);
    }
    step(token, 0);
}

void Carriage::step(Poller::Token token, std::uint32_t events) {
    const auto found = carried_.find(token);
    if (found == carried_.end()) {
        return;
    }
    Carried& carried = *found->second;
    const bool broken = (events & EPOLLERR) != 0;
    const auto state = std::visit([broken](auto& relay) { return relay.step(broken); }, carried.relay);
    if (state == ktls::UserspaceRelay::State::kAgain) {
        poller_.set_deadline(token, Poller::Clock::now());
    } else if (state == ktls::UserspaceRelay::State::kEnded) {
        const auto* tls = std::get_if<ktls::UserspaceRelay>(&carried.relay);
        end(token, tls != nullptr ? tls->reason() == WEFT_RELAY_REASON_FINISHED
                                  : std::get<PlainRelay>(carried.relay).finished());
    }
}

void Carriage::end(Poller::Token token, bool in_order) {
    const auto found = carried_.find(token);
    const CarriedPtr carried = std::move(found->second);
    carried_.erase(found);
    poller_.remove(token);
    auto ending = std::visit([](const auto& relay) { return ending_of(relay); }, carried->relay);
    if (ending.reason == "none") {
        ending.reason = "requested"; // it was still running
    }
    stats_.ended(carried->id, ending);
    for (UniqueFd* const fd : {&carried->app, &carried->wire}) {
        in_order ? close_in_order(*fd) : reset(*fd);
    }
}

void Carriage::give_up(Joined& joined, const std::string& detail) {
    stats_.failed(joined.facts, MeshFailure::kHandOver, detail);
    if (options_.secrets != nullptr) {
        options_.secrets->forget(joined.facts.id);
    }
    joined.handshake.reset();
    reset(joined.app);
    reset(joined.wire);
    if (std::exchange(joined.kept, false)) {
        relay_.drop(joined.facts.id);
    }
}

void Carriage::close_if(const std::function<bool(const ConnectionFacts&)>& wanted) {
    std::vector<Poller::Token> here;
    for (const auto& [token, carried] : carried_) {
        if (wanted(carried->facts)) {
            here.push_back(token);
        }
    }
    for (const auto token : here) {
        stats_.revoked(carried_.at(token)->id);
        end(token, false);
    }
    if (!options_.watch) {
        return;
    }
    for (const auto& [id, facts] : stats_.connections()) {
        if (facts.in_relay && wanted(facts)) {
            stats_.revoked(id);
            relay_.drop(id);
        }
    }
}

} // namespace weft::mesh
