// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The ring of recent flows: numbering, overwriting, and waking readers.
#include "agent/telemetry/flow_ring.hpp"

#include <algorithm>

#include "flow/flow.pb.h"

namespace weft::telemetry {

FlowRing::FlowRing(std::size_t capacity) : slots_(std::max<std::size_t>(capacity, 1)) {}

void FlowRing::append(flow::Flow&& flow) {
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            return;
        }
        flow.mutable_weft()->set_sequence(next_);
        slots_[(next_ - 1) % slots_.size()] = std::make_shared<const flow::Flow>(std::move(flow));
        ++next_;
        while (!gaps_.empty() && gaps_.front().before + slots_.size() <= next_) {
            gaps_.pop_front(); // the flow before it is gone; `total` of what follows still tells
        }
    }
    news_.notify_all();
}

void FlowRing::begin_kernel_lost(std::uint64_t total, std::int64_t now_ns) {
    const std::lock_guard lock(mutex_);
    kernel_lost_ = total;
    lost_known_ns_ = now_ns;
}

void FlowRing::set_kernel_lost(std::uint64_t total, std::int64_t now_ns) {
    const std::lock_guard lock(mutex_);
    if (total > kernel_lost_) {
        if (gaps_.empty() || gaps_.back().before != next_) {
            gaps_.push_back({.before = next_, .since_ns = lost_known_ns_});
        }
        auto& gap = gaps_.back();
        gap.count += total - kernel_lost_;
        gap.total = total;
        gap.until_ns = now_ns;
        kernel_lost_ = total;
    }
    lost_known_ns_ = now_ns;
}

FlowRing::Batch FlowRing::read_locked(std::uint64_t from, std::size_t limit) const {
    Batch batch;
    const std::uint64_t oldest = next_ > slots_.size() ? next_ - slots_.size() : 1;
    std::uint64_t at = std::max<std::uint64_t>(from, 1);
    if (at < oldest) {
        batch.missed = oldest - at;
        at = oldest;
    }
    for (; at < next_ && batch.flows.size() < limit; ++at) {
        batch.flows.push_back(slots_[(at - 1) % slots_.size()]);
    }
    batch.next = at;
    batch.kernel_lost = kernel_lost_;
    for (const auto& gap : gaps_) {
        if (gap.before > at) {
            batch.kernel_lost = gap.total - gap.count;
            break;
        }
        if (gap.before >= from) {
            batch.gaps.push_back(gap);
        }
    }
    batch.closed = closed_;
    return batch;
}

FlowRing::Batch FlowRing::read(std::uint64_t from, std::size_t limit) const {
    const std::lock_guard lock(mutex_);
    return read_locked(from, limit);
}

FlowRing::Batch FlowRing::wait(std::uint64_t from, std::size_t limit, std::chrono::milliseconds patience) const {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, patience, [&] { return closed_ || next_ > from; });
    auto batch = read_locked(from, limit);
    missed_ += batch.missed;
    return batch;
}

void FlowRing::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    news_.notify_all();
}

FlowRing::Stats FlowRing::stats() const {
    const std::lock_guard lock(mutex_);
    return {.kept = static_cast<std::size_t>(std::min<std::uint64_t>(next_ - 1, slots_.size())),
            .capacity = slots_.size(),
            .seen = next_ - 1,
            .kernel_lost = kernel_lost_,
            .missed = missed_};
}

} // namespace weft::telemetry
