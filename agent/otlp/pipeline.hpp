// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do records reach an OTLP receiver without holding up the agent? They wait in a bounded queue for a thread that
// sends them in batches, and tries again, later and later, where OTLP says that this helps. What is not delivered is
// lost and counted by cause: produced = delivered + lost + waiting, always.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "otlp/export.pb.h"

namespace weft::otlp {

/// How a pipeline works.
struct PipelineOptions {
    std::string method; ///< of gRPC: "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    std::vector<std::pair<std::string, std::string>> headers = {}; ///< metadata of each call; names in lower case
    Resource resource = {};
    std::size_t queue = 8192; ///< records that may wait; denials have as much again
    std::size_t batch = 512;  ///< records of one request
    std::chrono::milliseconds gather{1000};   ///< how long a batch that is not full waits for more
    std::chrono::milliseconds deadline{10000}; ///< of one request
    std::chrono::milliseconds first_delay{1000}; ///< before the second attempt; doubled for each further one
    std::chrono::milliseconds longest_delay{30000};
    std::chrono::milliseconds drain{2000}; ///< how long the end waits for what is still there
};

class Pipeline {
public:
    Pipeline(std::shared_ptr<grpc::Channel> channel, PipelineOptions options);
    /// Sends what waits, as long as PipelineOptions::drain allows; the rest is lost.
    ~Pipeline();
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    /// Queues a record. Never waits. Thread: any.
    void add(std::string record, bool denied);

    /// Records since the start, by what became of them.
    struct Stats {
        std::uint64_t delivered = 0;
        std::uint64_t queue_full = 0; ///< lost: came faster than the receiver takes them
        std::uint64_t refused = 0;    ///< lost: the receiver answered with an error after which nothing is sent again
        std::uint64_t rejected = 0;   ///< lost: the receiver took the rest of their batch
        std::uint64_t stopped = 0;    ///< lost: the agent ended first
        std::uint64_t retries = 0;    ///< requests that were sent again
        std::size_t waiting = 0;      ///< in the queue, or on their way
        std::string last_error;       ///< empty: none yet
        [[nodiscard]] std::uint64_t lost() const { return queue_full + refused + rejected + stopped; }
    };
    [[nodiscard]] Stats stats() const;

private:
    using Clock = std::chrono::steady_clock;
    void run();
    /// One request, again and again until there is an answer that ends it.
    void deliver(std::vector<std::string> records);
    grpc::Status call(const ExportRequest& request, ExportResponse& response);
    /// False when the end came first.
    bool pause(std::chrono::milliseconds span);
    [[nodiscard]] bool expired() const { return stopping_ && Clock::now() >= give_up_; }
    void settle(std::uint64_t Stats::* counter, std::uint64_t count);

    std::shared_ptr<grpc::Channel> channel_;
    const PipelineOptions options_;
    mutable std::mutex mutex_; ///< guards what follows: any thread adds, the sender takes
    std::condition_variable news_;
    std::deque<std::string> waiting_;
    std::size_t in_flight_ = 0;
    Stats stats_;
    bool stopping_ = false;
    Clock::time_point give_up_; ///< when what is left is given up, once stopping_
    std::thread sender_;
};

/// May the same request succeed later, as OTLP has it? `asks_to_wait`: the answer carries RetryInfo.
bool is_retryable(grpc::StatusCode code, bool asks_to_wait);

} // namespace weft::otlp
