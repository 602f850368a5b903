// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Mutual TLS in the agent's life: identities for the workloads that are enrolled, the mesh's sockets and workers for
// them, and the publication that lets peers dial. Nothing of it exists without a source of identities.
// Thread: control, but for what it hands out.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "agent/app/loop.hpp"
#include "agent/app/options.hpp"
#include "agent/bpf/datapath.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/compiler/transit.hpp"
#include "agent/identity/keeper.hpp"
#include "agent/identity/rotator.hpp"
#include "agent/mesh/mesh.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::app {

class MeshControl {
public:
    /// Opens the source of identities. `changed` is called on the loop when update() should be called again.
    /// Errors: of the source's options.
    static Result<std::unique_ptr<MeshControl>> start(const Options& options, Loop& loop,
                                                      std::function<void()> changed);
    ~MeshControl();
    MeshControl(const MeshControl&) = delete;
    MeshControl& operator=(const MeshControl&) = delete;

    /// Starts the workers; `datapath` is in place. Error: no threads, no cgroup.
    Result<> open(const bpf::Datapath& datapath);
    /// After the data path has moved to larger maps: its programs are new ones.
    Result<> reload(const bpf::Datapath& datapath);
    /// Makes the mesh what the snapshot says. Before the maps are written, so that no hook leads to a listener that is
    /// not there.
    void update(const store::Snapshot& snapshot, const compiler::InTransit& in_transit);
    /// Tells others which pods take mutual TLS: those that `state` (which is in the maps) and the mesh have ready.
    void publish(const store::Snapshot& snapshot, const compiler::DesiredState& state);

    /// Loopback ports of the listeners in pods, by netns cookie; before open() those that an earlier agent has left, so
    /// that the data path is never without them.
    [[nodiscard]] std::map<std::uint64_t, std::uint16_t> dial_ports() const;

    // Any thread, once open() has succeeded.
    [[nodiscard]] const mesh::Mesh& mesh() const { return *mesh_; }
    [[nodiscard]] const identity::Keeper& keeper() const { return *keeper_; }
    /// See mesh::Stats::trace().
    void trace(mesh::Stats::OnMoment on_moment) { mesh_->trace(std::move(on_moment)); }
    /// Blocks of other trust domains that are not believed, one line each.
    [[nodiscard]] std::vector<std::string> foreign_conflicts() const {
        const std::lock_guard lock(mutex_);
        return foreign_conflicts_;
    }
    /// `told` is called on a worker for each connection that fails from now on; any thread.
    void on_failure(mesh::Stats::OnFailure told) {
        const std::lock_guard lock(mutex_);
        on_failure_ = std::move(told);
    }

private:
    MeshControl(const Options& options, Loop& loop, std::function<void()> changed);
    Result<> open_source();
    void recover();
    /// A TLS context for the newest certificate of `id`; null when there is none to use.
    std::shared_ptr<const ktls::Context> context_for(const SpiffeId& id);
    void tell_trouble();
    void close_revoked();

    Options options_;
    Loop& loop_;
    std::function<void()> changed_;
    mutable std::mutex mutex_; ///< guards what follows: workers and gRPC's threads read what the loop sets
    mesh::Stats::OnFailure on_failure_;
    std::vector<std::string> foreign_conflicts_; ///< of federation_addresses with this cluster's own
    std::unique_ptr<identity::Keeper> keeper_;
    std::unique_ptr<identity::Rotator> rotator_;
    mesh::Recovered recovered_; ///< until open()
    std::unique_ptr<mesh::Mesh> mesh_;
    struct Cached {
        identity::CredentialsPtr credentials; ///< from which it was made
        std::shared_ptr<const ktls::Context> context;
    };
    std::map<SpiffeId, Cached> contexts_;
    identity::TrustPtr trust_; ///< whose revocations are in force
    std::string published_;
    std::vector<std::string> told_; ///< troubles that were logged
};

} // namespace weft::app
