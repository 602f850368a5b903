// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who are the workloads of this node, now? Keeps a valid certificate for every identity that is wanted, renews each at
// half of its life, and publishes credentials that never change; a new certificate is a new object. What has expired is
// not handed out: new connections fail closed. Clocks are given, so every moment can be tested.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/identity/federation.hpp"
#include "agent/identity/source.hpp"

namespace weft::identity {

using CredentialsPtr = std::shared_ptr<const ktls::Credentials>;
using Steady = std::chrono::steady_clock;

struct KeeperOptions {
    std::function<Time()> wall; ///< what certificates are judged by; the system's when empty
    std::function<Steady::time_point()> steady; ///< what pauses are measured by; the system's when empty
    std::chrono::milliseconds first_pause{1000};
    std::chrono::milliseconds longest_pause{60000};
    /// After another root began to sign, renewals are spread over this time.
    std::chrono::milliseconds rotation_spread{10000};
    std::uint64_t seed = std::random_device{}(); ///< of jitter
};

enum class IdentityPhase : std::uint8_t {
    kPending, ///< asked for, none yet
    kValid,
    kFailing, ///< valid, but it should have been renewed by now
    kExpired, ///< no new connection
    kRevoked, ///< no new connection
};
std::string_view phase_name(IdentityPhase phase);

/// One identity, for people and metrics.
struct IdentityState {
    SpiffeId id;
    IdentityPhase phase = IdentityPhase::kPending;
    std::string serial;
    Time not_before{}, not_after{};
    std::string source;
    std::string last_error; ///< empty: the last attempt went well
};

class Keeper {
public:
    /// Federation may be null.
    Keeper(std::unique_ptr<Source> source, std::unique_ptr<Federation> federation, KeeperOptions options = {});
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper();

    // For any thread.

    /// Identities that this node's workloads need; others are forgotten. Takes effect with the next run().
    void set_wanted(std::set<SpiffeId> ids);
    /// For a new connection. Errors: ENOKEY none yet, with the reason; EKEYEXPIRED; EKEYREVOKED.
    [[nodiscard]] Result<CredentialsPtr> credentials(const SpiffeId& id) const;
    /// All wanted identities, in order.
    [[nodiscard]] std::vector<IdentityState> states() const;
    /// Whether connections with that peer must end.
    [[nodiscard]] bool revoked(const SpiffeId& id, std::string_view serial) const;
    /// The newest trust with federated domains; null as long as none is known.
    [[nodiscard]] TrustPtr trust() const;
    /// What is wrong with the source itself, or with a federated bundle; nothing when all is well.
    [[nodiscard]] std::vector<std::string> troubles() const;
    /// Bundles of other trust domains that were asked for; those that the source sends by itself are not among them.
    [[nodiscard]] std::vector<BundleState> bundles() const {
        return federation_ ? federation_->states() : std::vector<BundleState>();
    }

    // Set before the first run(); called by its thread.

    /// New credentials, expired, revoked or gone: credentials(id) says which.
    void on_identity(std::function<void(const SpiffeId&)> changed) { identity_changed_ = std::move(changed); }
    /// New roots or revocations.
    void on_trust(std::function<void(const TrustPtr&)> changed) { trust_changed_ = std::move(changed); }
    /// Something came up that run() should look at soon; from any thread.
    void on_wake(std::function<void()> wake);

    /// Does what is due, which may block for seconds, and says when to call again at the latest.
    Steady::time_point run();

private:
    struct Entry {
        CredentialsPtr credentials;
        std::string serial;
        Time not_before{}, not_after{};
        Time renew_at{};
        std::uint64_t generation = 0; ///< of the source, when it was obtained
        std::string last_error;
        unsigned failures = 0;
        Steady::time_point next_try{}; ///< not before, after a failure
        std::optional<Steady::time_point> rotate_at; ///< another root signs: renew then
        bool told_lapsed = false;

        /// Half of its life is over; or it was made while the clock was ahead, and nobody would believe it until then.
        [[nodiscard]] bool stale(Time now) const { return now >= renew_at || now < not_before; }
    };
    using Entries = std::map<SpiffeId, Entry>;

    void update_trust();
    void update_wanted();
    bool source_ready(Time now, Steady::time_point moment);
    void renew_due(Time now, Steady::time_point moment);
    [[nodiscard]] bool due(const Entry& entry, Time now, Steady::time_point moment) const;
    Result<Entry> accept(const SpiffeId& id, Svid svid, Time now);
    void tell_lapsed(Time now);
    [[nodiscard]] Steady::time_point next_run(Time now, Steady::time_point moment) const;
    [[nodiscard]] std::chrono::milliseconds pause_after(unsigned failures);
    [[nodiscard]] Result<> usable(const SpiffeId& id, const Entry& entry, Time now) const;
    void tell(const SpiffeId& id) const;
    /// With the mutex held.
    [[nodiscard]] const std::string& source_error() const {
        return upkeep_error_.empty() ? obtain_error_ : upkeep_error_;
    }

    std::unique_ptr<Source> source_;
    std::unique_ptr<Federation> federation_;
    KeeperOptions options_;
    std::minstd_rand random_;
    std::function<void(const SpiffeId&)> identity_changed_;
    std::function<void(const TrustPtr&)> trust_changed_;
    TrustPtr source_trust_;
    FederatedPtr federated_;
    unsigned source_failures_ = 0;
    Steady::time_point source_next_try_{};

    mutable std::mutex mutex_; ///< guards what follows: read by every handshake, written by run()
    Entries entries_;
    TrustPtr trust_;
    std::set<SpiffeId> wanted_;
    std::string upkeep_error_; ///< of the source itself
    std::string obtain_error_; ///< the source did not answer
    std::function<void()> wake_;
};

} // namespace weft::identity
