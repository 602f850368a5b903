// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A thread that calls Keeper::run() when it is time, or when something woke it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "agent/identity/keeper.hpp"

namespace weft::identity {

class Rotator {
public:
    /// Borrows the keeper, which must live longer. Its callbacks are called by this thread.
    explicit Rotator(Keeper& keeper);
    ~Rotator();
    Rotator(const Rotator&) = delete;
    Rotator& operator=(const Rotator&) = delete;

    /// Looks again soon. Any thread.
    void wake();

private:
    void loop();

    Keeper& keeper_;
    std::mutex mutex_; ///< guards what follows
    std::condition_variable changed_;
    bool woken_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace weft::identity
