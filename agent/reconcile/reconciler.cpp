// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/reconcile/reconciler.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "agent/reconcile/policy_writer.hpp"
#include "agent/reconcile/service_writer.hpp"
#include "weft/abi/event.h"

namespace weft::reconcile {
namespace {

using ConfigMap = bpf::TypedMap<std::uint32_t, weft_config>;

// MEMBARRIER_CMD_GLOBAL waits for an RCU grace period, which every BPF program that runs now is part of. Where the
// kernel has none (nohz_full), a program may miss a rule that it was about to read: it then denies one packet.
void kernel_grace_period() {
    (void)::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

// Time since boot, not a count: an agent that died while it moved to larger maps may have used numbers that the maps
// it left do not tell.
std::uint64_t next_revision(std::uint64_t current) {
    timespec now{};
    (void)::clock_gettime(CLOCK_BOOTTIME, &now); // cannot fail for a clock that exists
    const auto nanoseconds =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
    return std::max(current + 1, nanoseconds);
}

} // namespace

std::size_t DriftReport::total() const {
    std::size_t sum = 0;
    for (const auto& [name, drift] : maps) {
        sum += drift.total();
    }
    return sum;
}

class Reconciler::Impl {
public:
    explicit Impl(std::function<void()> grace_period)
        : grace_period_(grace_period ? std::move(grace_period) : std::function<void()>(kernel_grace_period)) {}

    Result<> bind(const bpf::ConfigMaps& maps) {
        bound_ = false;
        maps_ = maps;
        WEFT_TRY(services_.bind(maps));
        WEFT_TRY(policy_.bind(maps));
        WEFT_ASSIGN(const auto found, config().lookup(0));
        config_ = found.value_or(weft_config{});
        revision_owed_ = true; // verdicts cached under an unfinished change of an earlier agent must not survive
        bound_ = true;
        return {};
    }

    Result<ApplyStats> apply(const compiler::DesiredState& state) {
        if (!bound_) {
            return failure(EINVAL, "no maps are bound; bind() comes before apply()");
        }
        ApplyStats stats;
        WEFT_TRY(round(state, stats));
        const bool full =
            std::ranges::any_of(stats.failures, [](const Failure& failed) { return failed.error.code() == E2BIG; });
        if (full && stats.removed != 0) {
            stats.failures.clear(); // there may be room now: what still fails is reported again
            WEFT_TRY(round(state, stats));
        }
        stats.revision = config_.revision;
        return stats;
    }

    Result<DriftReport> repair() {
        if (!bound_) {
            return failure(EINVAL, "no maps are bound; bind() comes before repair()");
        }
        DriftReport report;
        WEFT_TRY(services_.mend(report));
        WEFT_ASSIGN(const bool verdicts_touched, policy_.mend(report));
        WEFT_ASSIGN(const auto found, config().lookup(0));
        const bool config_changed = !found || !compiler::AbiEqual{}(*found, config_);
        if (config_changed) {
            report.maps[maps_.config->name()].changed = 1;
        }
        if (verdicts_touched || config_changed) {
            WEFT_TRY(bump());
        }
        return report;
    }

    void set_flags(std::uint32_t flags) { flags_ = flags; }

    Result<> set_tracing(bool on) {
        if (!bound_) {
            return failure(EINVAL, "no maps are bound; bind() comes before set_tracing()");
        }
        flags_ = on ? flags_ | WEFT_CONFIG_TRACE : flags_ & ~WEFT_CONFIG_TRACE;
        weft_config next = config_;
        next.flags = on ? next.flags | WEFT_CONFIG_TRACE : next.flags & ~WEFT_CONFIG_TRACE;
        WEFT_TRY(config().update(0, next));
        config_ = next;
        return {};
    }

private:
    ConfigMap config() const { return ConfigMap(*maps_.config); }

    Result<> round(const compiler::DesiredState& state, ApplyStats& stats) {
        const bool with_policy = state.policy != nullptr && !policy_.is_current(state.policy);
        services_.prepare(state.services, stats);
        if (with_policy) {
            const std::size_t failures_before = stats.failures.size();
            const std::size_t changes_before = stats.written + stats.removed;
            policy_.write_rules(*state.policy, state.names.get(), stats);
            policy_.write_addresses(*state.policy, stats);
            services_.flip(state.services, stats);
            policy_.flip(*state.policy, state.names.get(), stats);
            policy_.retire(*state.policy, grace_period_, stats);
            policy_.finish(state.policy, stats.failures.size() == failures_before);
            revision_owed_ |= stats.written + stats.removed != changes_before;
        } else {
            services_.flip(state.services, stats);
        }
        if (revision_owed_ || config_.flags != flags_ || config_.revision == 0) {
            // After the removals, so that no verdict is cached under the new revision from a rule that is leaving.
            WEFT_TRY(bump());
            stats.revision_bumped = true;
        }
        services_.retire(state.services, stats);
        return {};
    }

    Result<> bump() {
        weft_config next = config_;
        next.revision = next_revision(config_.revision);
        next.flags = flags_;
        if (auto written = config().update(0, next); !written) {
            revision_owed_ = true;
            return std::unexpected(written.error().within("publishing the policy revision"));
        }
        config_ = next;
        revision_owed_ = false;
        return {};
    }

    std::function<void()> grace_period_;
    bpf::ConfigMaps maps_;
    ServiceWriter services_;
    PolicyWriter policy_;
    weft_config config_{};
    std::uint32_t flags_ = 0;
    bool revision_owed_ = false;
    bool bound_ = false;
};

Reconciler::Reconciler(std::function<void()> grace_period) : impl_(std::make_unique<Impl>(std::move(grace_period))) {}
Reconciler::Reconciler(Reconciler&&) noexcept = default;
Reconciler& Reconciler::operator=(Reconciler&&) noexcept = default;
Reconciler::~Reconciler() = default;

Result<> Reconciler::bind(const bpf::ConfigMaps& maps) {
    return impl_->bind(maps);
}
Result<ApplyStats> Reconciler::apply(const compiler::DesiredState& state) {
    return impl_->apply(state);
}
Result<DriftReport> Reconciler::repair() {
    return impl_->repair();
}
void Reconciler::set_config_flags(std::uint32_t flags) {
    impl_->set_flags(flags);
}
Result<> Reconciler::set_tracing(bool on) {
    return impl_->set_tracing(on);
}

} // namespace weft::reconcile
