// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the control thread lets others see: whole immutable values, swapped under one lock, never edited in place.
// Thread: any.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "agent/bpf/config_maps.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/reconcile/reconciler.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::app {

/// One consistent picture of the agent.
struct Picture {
    std::shared_ptr<const compiler::DesiredState> desired;
    std::shared_ptr<const store::Snapshot> snapshot;
    bpf::ConfigMaps maps;
    std::uint64_t revision = 0;
    std::map<std::string, reconcile::MapDrift> drift; ///< found and repaired since the agent started, by map
    std::vector<reconcile::Failure> failures;         ///< of the last write
    std::string source_trouble; ///< why the manifests cannot be read now; empty when all is well
    std::chrono::steady_clock::time_point synced_at; ///< last time the maps were what the sources say
};

class Published {
public:
    /// The newest picture; never null once the agent has started.
    [[nodiscard]] std::shared_ptr<const Picture> get() const {
        const std::lock_guard lock(mutex_);
        return picture_;
    }
    void set(std::shared_ptr<const Picture> picture) {
        const std::lock_guard lock(mutex_);
        picture_ = std::move(picture);
    }

private:
    mutable std::mutex mutex_; ///< guards picture_: readers are gRPC and scrape threads
    std::shared_ptr<const Picture> picture_;
};

} // namespace weft::app
