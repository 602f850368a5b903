// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The agent as the API and the metrics see it: the published picture plus reads of the pinned maps. Pins, not the
// data path's own descriptors, because those belong to the control thread and change when maps grow.
// Thread: any, several at once.
#pragma once

#include <string>
#include <vector>

#include "agent/admin/view.hpp"
#include "agent/app/mesh_control.hpp"
#include "agent/app/options.hpp"
#include "agent/app/published.hpp"
#include "agent/bpf/datapath.hpp"
#include "agent/bpf/pins.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::app {

class View final : public admin::AgentView {
public:
    /// `published` and `mesh` (which may be null) must outlive the view. Takes its own descriptors of what never
    /// changes: state maps and the iterator.
    static Result<std::unique_ptr<View>> create(const Options& options, const Published& published,
                                                const bpf::Datapath& datapath, const MeshControl* mesh);

    [[nodiscard]] std::shared_ptr<const compiler::DesiredState> desired() const override;
    [[nodiscard]] std::shared_ptr<const store::Snapshot> snapshot() const override;
    [[nodiscard]] admin::AgentHealth health() const override;
    [[nodiscard]] Result<std::vector<admin::MapHealth>> maps() const override;
    [[nodiscard]] Result<admin::Counters> counters() const override;
    [[nodiscard]] Result<std::vector<weft_conn>> connections() const override;
    [[nodiscard]] std::optional<admin::MeshHealth> mesh() const override;
    [[nodiscard]] telemetry::Tracer* tracer() const override { return tracer_; }
    /// Before anybody asks; must outlive the view.
    void set_tracer(telemetry::Tracer& tracer) { tracer_ = &tracer; }
    [[nodiscard]] Result<std::vector<admin::RawEntry>> dump_map(const std::string& name) const override;

private:
    View(const Options& options, const Published& published);

    Options options_;
    const Published& published_;
    const MeshControl* mesh_ = nullptr;
    telemetry::Tracer* tracer_ = nullptr;
    bpf::PinLayout pins_;
    std::vector<std::string> hooks_;
    UniqueFd iterator_, sockets_, counters_, drops_;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

} // namespace weft::app
