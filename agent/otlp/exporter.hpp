// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who sends connections to an OTLP receiver? Each one that ended or was denied becomes a log record and a span, chosen
// by namespace as the access log chooses; denials are always sent. Nothing here waits for the receiver.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "agent/otlp/endpoint.hpp"
#include "agent/otlp/pipeline.hpp"
#include "weft/base/result.hpp"

namespace flow {
class Flow;
}

namespace weft::otlp {

/// Where to send, as whom, and what.
struct ExporterOptions {
    std::string endpoint; ///< as parse_endpoint() takes it
    std::string ca;       ///< https: PEM file of the receiver's authorities; empty: the system's
    std::string certificate, key; ///< https: PEM files of our own, both or none
    std::string headers_file; ///< lines NAME: VALUE, sent with each request; empty: none
    std::map<std::string, std::string> resource = {}; ///< attributes beside or instead of the usual ones
    std::map<std::string, unsigned> sampling = {}; ///< namespace, or "*", to percent
    bool logs = true, spans = true;
    std::string node_name, cluster_name;
    PipelineOptions pipeline = {}; ///< method, headers and resource are filled in
};

class Exporter {
public:
    /// Starts its threads; the receiver need not be there. Errors: the endpoint, or a file
    /// that cannot be used, by the name of its configuration key.
    static Result<std::unique_ptr<Exporter>> start(const ExporterOptions& options);

    /// Queues the flow's records, if it has some and is chosen. Thread: any.
    void add(const flow::Flow& flow);

    /// By signal.
    struct Stats {
        std::string signal; ///< "logs", "spans"
        std::uint64_t sampled_out = 0;
        Pipeline::Stats sent;
    };
    [[nodiscard]] std::vector<Stats> stats() const;

private:
    Exporter() = default;
    std::map<std::string, unsigned> sampling_;
    std::atomic<std::uint64_t> sampled_out_ = 0;
    std::unique_ptr<Pipeline> logs_, spans_; ///< null: not wanted
};

} // namespace weft::otlp
