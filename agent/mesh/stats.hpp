// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What became of the mesh's connections: counters for metrics, the living ones for `weft conn list`, and a report for
// each that failed, from which a flow is made; and, while somebody listens, each moment of a connection's life.
// Thread: any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/mesh/view.hpp"
#include "weft/abi/types.h"
#include "agent/mesh/failures.hpp"
#include "weft/ktls/failure.hpp"

namespace weft::mesh {

enum class MeshFailure : std::uint8_t {
#define WEFT_MESH_FAILURE_ENUMERATOR(name, word, meaning) name,
    WEFT_MESH_FAILURES(WEFT_MESH_FAILURE_ENUMERATOR)
#undef WEFT_MESH_FAILURE_ENUMERATOR
        kCount
};
std::string_view failure_name(MeshFailure failure);

/// Seen from the workload of this node.
enum class Side : std::uint8_t { kClient, kServer };

/// How a connection's bytes are moved.
enum class Carrier : std::uint8_t { kRelay, kUserspace, kPlaintext };
std::string_view carrier_name(Carrier carrier);

/// One connection.
struct ConnectionFacts { // NOLINT(clang-analyzer-core.uninitialized.Assign): lost in a captured copy, yet set
    std::uint64_t id = 0; ///< in Stats and at weft-relay; 0: not numbered yet
    Side side = Side::kClient;
    std::shared_ptr<const Workload> workload;
    weft_addr_port app{};    ///< the application's own end
    weft_addr_port remote{}; ///< the peer's end on the wire
    weft_addr_port asked{};  ///< client: what the application asked for
    std::uint64_t cookie = 0; ///< client: of the application's socket
    std::optional<SpiffeId> peer;
    std::string peer_serial;
    std::string own_serial;
    std::string cipher;
    std::string group;
    bool resumed = false;
    Carrier carrier = Carrier::kUserspace;
    bool in_relay = false; ///< weft-relay moves its bytes, encrypted or not
    std::string why_not_kernel; ///< why this connection is in user space though others are not; empty: no such case
    std::int64_t began_ns = 0;     ///< CLOCK_MONOTONIC: connect, or accept
    std::int64_t wire_ns = 0;      ///< the connection between the nodes stands
    std::int64_t handshake_ns = 0; ///< the handshake is done
    std::int64_t carried_ns = 0;   ///< both ends are joined
    bool revoked = false;          ///< it is being closed, as the certificate of an end was taken back
};

/// What happened to keys whose records are the kernel's.
enum class KeyEvent : std::uint8_t {
    kLimitRekeyed, ///< a key carried its share of bytes, and another one follows
    kLimitWarned,  ///< and goes on, since it cannot be changed
    kLimitClosed,  ///< and the connection was reset, since it cannot be changed
    kSendKey,      ///< a new key of ours
    kReceiveKey,   ///< a new key of a peer's
    kCount
};

/// How a connection that was carried ended.
struct Ending {
    std::string reason = "unknown"; ///< one of the words of ktls::relay_reason_name()
    std::uint32_t detail = 0;       ///< errno, or number of the peer's alert
    std::uint64_t to_peer = 0;      ///< bytes that the workload sent
    std::uint64_t to_app = 0;       ///< bytes that it received
};

/// The moments of a connection's life in this process.
enum class Moment : std::uint8_t {
    kAccepted,     ///< from the application, or from the peer
    kDialled,      ///< client: the connection to the peer was begun
    kConnected,    ///< client: it stands, and the handshake begins
    kHandshake,    ///< server: the first bytes are a Weft handshake, which begins
    kPlaintext,    ///< server: they are not, and the workload takes that
    kProven,       ///< the peer's identity is proven, and may be at its address
    kEstablished,  ///< the handshake is done
    kApplication,  ///< server: the application has taken its connection
    kKeys,         ///< the kernel has the keys
    kCarried,      ///< bytes may flow: see ConnectionFacts::carrier
    kTaken,        ///< weft-relay has it
    kFailed,       ///< `word` is the reason
    kEnded,        ///< `word` is the reason
};

/// One moment.
struct MomentReport {
    Moment moment{};
    std::int64_t at_ns = 0; ///< CLOCK_MONOTONIC
    const ConnectionFacts& facts; ///< only during the call
    std::string_view word;
    std::string_view detail;
    Ending ending = {}; ///< of kEnded
};

/// What went between two principals, as seen from the workload of this node.
struct PrincipalsKey {
    Side side{};
    bool mutual_tls = true;
    std::string source;      ///< SPIFFE ID; "unknown": nobody was proven
    std::string destination;
    friend auto operator<=>(const PrincipalsKey&, const PrincipalsKey&) = default;
};
struct PrincipalsCount {
    std::uint64_t opened = 0, closed = 0;
    std::uint64_t sent = 0, received = 0; ///< by the workload, of connections that ended
};

/// A connection that failed, before it carried a byte of the application's or by its keys.
struct FailureReport {
    ConnectionFacts facts;
    std::string reason; ///< failure_name()
    std::string detail; ///< one line for people
};

class Stats {
public:
    using OnFailure = std::function<void(const FailureReport&)>;
    /// `on_failure` is called on a worker and must not block.
    explicit Stats(OnFailure on_failure = {});

    void failed(const ConnectionFacts& facts, ktls::Failure reason, const std::string& detail);
    void failed(const ConnectionFacts& facts, MeshFailure reason, const std::string& detail);
    /// A number for a connection that may be carried some day.
    std::uint64_t reserve();
    /// A connection begins to carry bytes under `facts.id`, or under a number that is reserved for it; it is told.
    /// Until ended().
    std::uint64_t carried(ConnectionFacts facts);
    /// A connection that an earlier agent has handed to weft-relay; nothing when it is known.
    void restored(ConnectionFacts&& facts);
    void ended(std::uint64_t id, const Ending& ending = {});
    /// The same, with a failure of that name, for connections that were not ended by their own ends.
    void broken(std::uint64_t id, std::string_view reason, const std::string& detail, const Ending& ending = {});
    /// A connection is about to be closed, as the certificate of an end was taken back. Counted once for each.
    void revoked(std::uint64_t id);
    void key_limit(KeyEvent event);

    [[nodiscard]] std::map<std::uint64_t, ConnectionFacts> connections() const;
    /// weft-relay carries it, or will in a moment.
    [[nodiscard]] bool in_relay(std::uint64_t id) const;
    /// All of those.
    [[nodiscard]] std::set<std::uint64_t> all_in_relay() const;
    /// Failures by side and reason, those that never happened left out.
    [[nodiscard]] std::map<std::pair<Side, std::string>, std::uint64_t> failures() const;
    struct Totals {
        std::map<std::pair<Side, Carrier>, std::uint64_t> opened;
        std::uint64_t resumed = 0;
        std::map<Side, std::uint64_t> revoked; ///< closed by a revocation
        std::array<std::uint64_t, static_cast<std::size_t>(KeyEvent::kCount)> keys{};
        /// Bucket i counts handshakes of less than 2^i microseconds that are not in a lower one; the last takes the
        /// rest.
        std::array<std::uint64_t, 24> handshake_us{};
        std::uint64_t handshake_sum_us = 0;
    };
    [[nodiscard]] Totals totals() const;
    [[nodiscard]] std::map<PrincipalsKey, PrincipalsCount> principals() const;
    /// Forgets what was counted for other identities of this node's workloads than these.
    void keep_principals(const std::set<SpiffeId>& own);

    using OnMoment = std::function<void(const MomentReport&)>;
    /// Tells each moment from now on; empty: none any more, which costs nothing. Called on a worker, must not block.
    void trace(OnMoment on_moment);
    /// A moment of now, or of `at_ns`.
    void moment(const ConnectionFacts& facts, Moment moment, std::string_view detail = {}, std::int64_t at_ns = 0) {
        if (tracing_.load(std::memory_order_relaxed)) {
            tell(facts, moment, {}, detail, {}, at_ns);
        }
    }

private:
    void failed(const ConnectionFacts& facts, std::string_view reason, const std::string& detail);
    void tell(const ConnectionFacts& facts, Moment moment, std::string_view word, std::string_view detail,
              const Ending& ending, std::int64_t at_ns);
    PrincipalsCount& count_of(PrincipalsKey key);
    /// With the mutex held.
    void count_end(const ConnectionFacts& facts, const Ending& ending);
    /// Forgets a connection and counts its end; nothing when it was not known.
    std::optional<ConnectionFacts> take_out(std::uint64_t id, const Ending& ending);

    OnFailure on_failure_;
    mutable std::mutex mutex_; ///< guards all below: a handful of instructions per connection
    std::map<std::pair<Side, std::string>, std::uint64_t> failures_;
    std::map<std::uint64_t, ConnectionFacts> connections_;
    std::uint64_t next_; ///< begins at the time of start: weft-relay may still carry what an earlier agent numbered
    Totals totals_;
    std::map<PrincipalsKey, PrincipalsCount> principals_;

    std::atomic<bool> tracing_ = false;
    std::mutex moment_mutex_; ///< guards on_moment_, and that it is not called any more once trace() has returned
    OnMoment on_moment_;
};

/// CLOCK_MONOTONIC, as the hooks' times.
std::int64_t monotonic_ns();

} // namespace weft::mesh
