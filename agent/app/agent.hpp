// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The agent as a whole: sources -> store -> compiler -> reconciler -> maps, in one direction, on one thread.
// This file only connects the parts; none of them knows another one.
// Thread: control, but for the views that it publishes (published.hpp).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/app/loop.hpp"
#include "agent/app/mesh_control.hpp"
#include "agent/app/options.hpp"
#include "agent/app/published.hpp"
#include "agent/bpf/datapath.hpp"
#include "agent/bpf/stale_backend.hpp"
#include "agent/bpf/udp_reaper.hpp"
#include "agent/bpf/veth_guard.hpp"
#include "agent/compiler/compiler.hpp"
#include "agent/compiler/transit.hpp"
#include "agent/enrol/enrolment.hpp"
#include "agent/reconcile/reconciler.hpp"
#include "agent/reconcile/sizes.hpp"
#include "agent/source/manifest_folder.hpp"
#include "agent/store/store.hpp"

namespace weft::app {

class Agent {
public:
    /// Loads everything, fills the maps, attaches or takes over the hooks and proves that they act. On error nothing
    /// of a previous agent's work is disturbed.
    static Result<std::unique_ptr<Agent>> start(Options options, Loop& loop);
    ~Agent();
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;

    /// What the API, the metrics and the observer may read, from any thread.
    [[nodiscard]] const Published& published() const { return published_; }
    [[nodiscard]] bpf::Datapath& datapath() { return *datapath_; }
    /// Null when this node has no source of identities.
    [[nodiscard]] MeshControl* mesh() { return mesh_.get(); }
    [[nodiscard]] const MeshControl* mesh() const { return mesh_.get(); }
    /// Has the hooks tell the first bytes of connections, too, or not any more.
    Result<> set_tracing(bool on) { return reconciler_.set_tracing(on); }

private:
    Agent(Options options, Loop& loop);

    Result<> begin();
    Result<> open_datapath();
    Result<> watch_sources();
    /// Asks the kernel, once, whether `acceleration: auto` is on.
    void choose_acceleration();
    Result<> open_mesh();
    /// Brings the mesh's sockets in line with the snapshot, and their ports into what is compiled next.
    void update_mesh(const store::Snapshot& snapshot);
    void start_enrolment(enrol::EndpointRegistry registry);

    /// Compiles the present snapshot and writes the maps, if anything changed.
    void sync();
    Result<> write_maps();
    void report(const reconcile::ApplyStats& stats);
    /// Destroys connected UDP sockets of backends that are gone, now and once more a little later.
    void reap(const std::vector<bpf::StaleBackend>& stale);
    void reap_now(const std::vector<bpf::StaleBackend>& stale);
    /// Puts the program that judges packets on the wire onto the host's ends of this node's pods' veth pairs.
    void guard_veths();
    /// Logs what is refused now and was not before.
    void log_refusals();
    void repair();
    void refresh_host();
    void publish_state();
    /// Are this endpoint's maps in place?
    Result<> in_force(const store::LocalEndpoint& endpoint);
    /// The compiled state plus what the agent itself needs.
    void compile();

    Options options_;
    Loop& loop_;
    UniqueFd run_dir_lock_, pin_dir_lock_; ///< no second agent on the same folders
    store::Store store_;
    compiler::Compiler compiler_;
    compiler::NodeContext node_;
    std::shared_ptr<const compiler::DesiredState> desired_;
    reconcile::Reconciler reconciler_;
    reconcile::SizeCounter sizes_;
    std::unique_ptr<source::ManifestFolder> folder_;
    std::unique_ptr<bpf::Datapath> datapath_;
    bpf::VethGuard veths_;
    bpf::UdpReaper reaper_ = bpf::UdpReaper::open();
    std::unique_ptr<enrol::EndpointRegistry> registry_;
    std::unique_ptr<enrol::Enrolment> enrolment_;
    std::unique_ptr<enrol::PostingHandler> enrol_handler_;
    std::unique_ptr<enrol::EnrolServer> enrol_server_;
    UniqueFd address_watch_;
    std::shared_ptr<const store::Snapshot> snapshot_;
    std::vector<store::Refusal> logged_refusals_;
    std::unique_ptr<MeshControl> mesh_;
    bool mesh_changed_ = false; ///< certificates or trust, or a pod has arrived
    compiler::Transit transit_;
    std::optional<compiler::Transit::Clock::time_point> next_arrival_; ///< for which the loop has an alarm
    bool host_changed_ = true;
    bool failed_last_ = false; ///< the last write left failures behind: try again at the next repair
    Published published_;
};

} // namespace weft::app
