// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/identity/rotator.hpp"

namespace weft::identity {

Rotator::Rotator(Keeper& keeper) : keeper_(keeper) {
    keeper_.on_wake([this] { wake(); });
    thread_ = std::thread([this] { loop(); });
}

Rotator::~Rotator() {
    keeper_.on_wake({});
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Rotator::wake() {
    {
        const std::scoped_lock lock(mutex_);
        woken_ = true;
    }
    changed_.notify_all();
}

void Rotator::loop() {
    while (true) {
        const auto next = keeper_.run();
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, next, [this] { return woken_ || stopping_; });
        if (stopping_) {
            return;
        }
        woken_ = false;
    }
}

} // namespace weft::identity
