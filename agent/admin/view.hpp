// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the API and the metrics may ask of the running agent. The app implements it; everything is a snapshot or a
// read of the kernel's own maps, so no caller can change or block the agent.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/compiler/desired_state.hpp"
#include "agent/store/snapshot.hpp"
#include "weft/abi/socket.h"
#include "weft/base/result.hpp"

namespace weft::telemetry {
class Tracer;
}

namespace weft::admin {

/// What the live connect probe at start found.
enum class HookProbe { kNotRun, kPassed, kFailed };

/// An object that a map could not take (reconcile::Failure as text).
struct WriteFailure {
    std::string object; ///< "service ns/name port http"
    std::string map;    ///< "weft_slot"
    std::string message;
};

/// State of the agent that is not in the desired state or in the snapshot.
struct AgentHealth {
    std::string node_name;
    std::string source;      ///< where objects come from: "manifests /etc/weft/manifests"
    std::string cgroup_path; ///< where hooks are attached
    std::string pin_dir;
    std::chrono::steady_clock::time_point started{};
    bool synced = false;                               ///< a first complete state is in the kernel
    std::chrono::steady_clock::time_point last_sync{}; ///< when the maps were last brought to the desired state
    std::uint64_t policy_revision = 0;
    HookProbe probe = HookProbe::kNotRun;
    std::string probe_detail;
    std::vector<std::string> hooks; ///< attached hooks
    std::vector<WriteFailure> failures;
};

/// One map of the kernel.
struct MapHealth {
    std::string name; ///< "weft_service"
    std::string type; ///< "hash", "lpm_trie", "lru_hash", "array", "percpu_array", "ringbuf", "sk_storage"
    std::uint64_t entries = 0;
    std::uint64_t capacity = 0;
    bool counted = true; ///< false: the kernel has no list of entries (ring buffer, socket storage)
    std::uint64_t drift = 0; ///< entries found changed and repaired since the agent started
};

/// Sums over all CPUs. Indices as in weft/abi/event.h and reasons.h; a shorter vector means zeros.
struct Counters {
    std::vector<std::uint64_t> counters; ///< index: enum weft_counter
    std::vector<std::uint64_t> drops;    ///< index: reason * WEFT_DIRECTION_COUNT + direction
};

/// One entry as it lies in the kernel.
struct RawEntry {
    std::vector<std::byte> key;
    std::vector<std::byte> value; ///< per-CPU maps: the sum is not taken, one value after another
};

/// Mutual TLS as this agent runs it.
struct MeshHealth {
    std::string tier;   ///< "relay" or "userspace": how bytes are moved
    std::string reason; ///< why this one
    std::vector<std::string> troubles;
    struct Certificate {
        std::string id, phase, serial, source, error;
        double seconds_left = 0;
        std::int64_t not_before = 0; ///< seconds of Unix time; both 0 while it is pending
        std::int64_t not_after = 0;
    };
    std::vector<Certificate> certificates;
    /// Roots of another trust domain.
    struct Bundle {
        std::string trust_domain;
        std::size_t roots = 0;
        std::optional<double> age_seconds; ///< since they were last read where they are; nothing: never
    };
    std::vector<Bundle> bundles;
    /// A count by "client" or "server" and a word: the tier of what was opened, the reason of what failed.
    struct Count {
        std::string side, word;
        std::uint64_t value = 0;
    };
    std::vector<Count> opened, failed;
    std::uint64_t resumed = 0;
    /// Connections closed by a revocation: by "client" or "server".
    std::vector<std::pair<std::string, std::uint64_t>> revoked;
    /// What went between two principals: the workload's side, who opened it, who took it.
    struct Principals {
        std::string side, source, destination;
        bool mutual_tls = true; ///< false: a permissive workload took it as it came, and nobody was proven
        std::uint64_t opened = 0, closed = 0, sent = 0, received = 0;
    };
    std::vector<Principals> principals;
    /// Keys that reached their limit, by what followed: rekeyed, warned, closed.
    std::vector<std::pair<std::string, std::uint64_t>> key_limits;
    /// Keys that were changed: send, receive.
    std::vector<std::pair<std::string, std::uint64_t>> new_keys;
    /// Handshakes by duration: bucket i holds those below 2^i microseconds and in no lower bucket.
    std::vector<std::uint64_t> handshake_us;
    double handshake_sum_seconds = 0;
    struct Carried {
        bool client = false;
        std::uint64_t cookie = 0;  ///< client: of the application's socket
        weft_addr_port app{}, remote{};
        std::string own_id, peer_id, own_serial, peer_serial, cipher, group, tier;
        bool resumed = false;
    };
    std::vector<Carried> connections;
};

/// Thread: called from gRPC's and the metrics server's threads, several at once. Implementations hand out immutable
/// snapshots, and open or duplicate map descriptors so that a map that is replaced meanwhile is still readable.
class AgentView {
public:
    AgentView() = default;
    AgentView(const AgentView&) = delete;
    AgentView& operator=(const AgentView&) = delete;
    virtual ~AgentView() = default;

    /// Never null; empty before the first sync.
    [[nodiscard]] virtual std::shared_ptr<const compiler::DesiredState> desired() const = 0;
    /// Never null; empty before the source was read.
    [[nodiscard]] virtual std::shared_ptr<const store::Snapshot> snapshot() const = 0;
    [[nodiscard]] virtual AgentHealth health() const = 0;
    /// Every map of the data path, in any order. Error: one cannot be read.
    [[nodiscard]] virtual Result<std::vector<MapHealth>> maps() const = 0;
    /// Error: the counter maps cannot be read.
    [[nodiscard]] virtual Result<Counters> counters() const = 0;
    /// What the socket iterator finds. Error: the iterator cannot run.
    [[nodiscard]] virtual Result<std::vector<weft_conn>> connections() const = 0;
    /// Nothing on a node without a source of identities.
    [[nodiscard]] virtual std::optional<MeshHealth> mesh() const { return std::nullopt; }
    /// Where connections can be traced; null while nowhere. Lives as long as this.
    [[nodiscard]] virtual telemetry::Tracer* tracer() const { return nullptr; }
    /// Every entry of a map by its full name. Error: ENOENT no such map; EOPNOTSUPP it has no list of entries.
    [[nodiscard]] virtual Result<std::vector<RawEntry>> dump_map(const std::string& name) const = 0;
};

} // namespace weft::admin
