// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/relay_link.hpp"

#include <sys/epoll.h>

#include <algorithm>

namespace weft::mesh {
namespace {

/// How soon a relay that is away is looked for again, and one that was busy is told again.
constexpr std::chrono::milliseconds kAgain{500};

} // namespace

RelayLink::RelayLink(Poller& poller, std::string path, bool watch, Handlers handlers)
    : poller_(poller), path_(std::move(path)), watch_(watch), handlers_(std::move(handlers)) {
    if (!path_.empty()) {
        token_ = poller_.add([this](std::uint32_t events) { on_event(events); });
    }
    if (watch_ && !path_.empty()) {
        poller_.post([this] { (void)client(); }); // tells now what is there, and what ended while no agent listened
    }
}

RelayLink::~RelayLink() = default;

ktls::RelayClient* RelayLink::client() {
    if (client_ || path_.empty()) {
        return client_ ? &*client_ : nullptr;
    }
    auto made = ktls::RelayClient::connect(path_);
    if (made && poller_.watch(token_, made->fd(), EPOLLIN)) {
        client_.emplace(std::move(*made));
        // In this order: what is listed has not ended, or its end comes later.
        if (watch_ && (!client_->watch() || !client_->list())) {
            client_.reset();
        }
        for (auto one = always_.begin(); client_ && one != always_.end(); ++one) {
            if (!client_->keep(one->first, one->second.fd, one->second.label)) {
                client_.reset();
            }
        }
    }
    if (!client_ && (watch_ || !drops_.empty())) {
        poller_.set_deadline(token_, Poller::Clock::now() + kAgain);
    }
    return client_ ? &*client_ : nullptr;
}

bool RelayLink::keep(std::uint64_t id, int fd, const std::string& label) {
    auto* relay = client();
    return relay != nullptr && relay->keep(id, fd, label).has_value();
}

void RelayLink::keep_always(std::uint64_t id, int fd, std::string label) {
    if (path_.empty()) {
        return;
    }
    std::erase(drops_, id);
    const auto& listener = always_[id] = {fd, std::move(label)};
    if (client_ && !client_->keep(id, fd, listener.label)) {
        lose(); // keeps it when it is there again
    }
}

void RelayLink::drop(std::uint64_t id) {
    if (!path_.empty()) {
        always_.erase(id);
        drops_.push_back(id);
        flush_drops();
    }
}

void RelayLink::drop_later(std::uint64_t id) {
    if (std::ranges::find(later_, id) == later_.end()) {
        later_.push_back(id);
        poller_.set_deadline(token_, Poller::Clock::now() + kAgain);
    }
}

void RelayLink::flush_drops() {
    auto* relay = drops_.empty() ? nullptr : client();
    while (relay != nullptr && !drops_.empty() && relay->close(drops_.back())) {
        drops_.pop_back();
    }
    if (!drops_.empty()) {
        poller_.set_deadline(token_, Poller::Clock::now() + kAgain);
    }
}

void RelayLink::on_event(std::uint32_t events) {
    if (events == 0) {
        drops_.insert(drops_.end(), later_.begin(), later_.end());
        later_.clear();
        (void)client();
    }
    while (client_) {
        auto message = client_->receive();
        if (!message) {
            return lose();
        }
        if (!*message) {
            break;
        }
        if (watch_ && (*message)->head.op == WEFT_RELAY_LIST && (*message)->head.cursor != 0 &&
            !client_->list((*message)->head.cursor)) {
            return lose();
        }
        handlers_.message(**message);
    }
    flush_drops();
}

void RelayLink::lose() {
    client_.reset(); // its descriptor leaves the loop as it is closed
    handlers_.lost();
    if (watch_) {
        poller_.set_deadline(token_, Poller::Clock::now() + kAgain);
    }
}

} // namespace weft::mesh
