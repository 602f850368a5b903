// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/otlp/pipeline.hpp"

#include <algorithm>
#include <future>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

namespace weft::otlp {
namespace {

using std::chrono::milliseconds;

/// How long the receiver wants to be left alone, where it says so.
std::optional<milliseconds> retry_delay(const grpc::Status& status) {
    RpcStatus detailed;
    if (status.error_details().empty() || !detailed.ParseFromString(status.error_details())) {
        return std::nullopt;
    }
    for (const auto& detail : detailed.details()) {
        RetryInfo info;
        // Found by its full name, whatever our message is called.
        if (detail.type_url().ends_with("/google.rpc.RetryInfo") && info.ParseFromString(detail.value())) {
            return milliseconds(google::protobuf::util::TimeUtil::DurationToMilliseconds(info.retry_delay()));
        }
    }
    return std::nullopt;
}

/// Half to all of it, so that not every node comes back at once.
milliseconds jittered(milliseconds span) {
    thread_local std::minstd_rand random(std::random_device{}());
    return milliseconds(std::uniform_int_distribution<milliseconds::rep>(span.count() / 2, span.count())(random));
}

} // namespace

bool is_retryable(grpc::StatusCode code, bool asks_to_wait) {
    switch (code) {
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DATA_LOSS:
        return true;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
        return asks_to_wait;
    default:
        return false;
    }
}

Pipeline::Pipeline(std::shared_ptr<grpc::Channel> channel, PipelineOptions options)
    : channel_(std::move(channel)), options_(std::move(options)), sender_([this] { run(); }) {}

Pipeline::~Pipeline() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        give_up_ = Clock::now() + options_.drain;
    }
    news_.notify_all();
    sender_.join();
}

void Pipeline::add(std::string record, bool denied) {
    {
        const std::lock_guard lock(mutex_);
        if (waiting_.size() >= (denied ? 2 * options_.queue : options_.queue)) {
            ++stats_.queue_full;
            return;
        }
        waiting_.push_back(std::move(record));
    }
    news_.notify_all();
}

Pipeline::Stats Pipeline::stats() const {
    const std::lock_guard lock(mutex_);
    auto out = stats_;
    out.waiting = waiting_.size() + in_flight_;
    return out;
}

void Pipeline::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        news_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (expired()) {
            stats_.stopped += waiting_.size();
            waiting_.clear();
        }
        if (waiting_.empty()) {
            return;
        }
        news_.wait_for(lock, options_.gather, [this] { return stopping_ || waiting_.size() >= options_.batch; });
        const auto count = static_cast<std::ptrdiff_t>(std::min(waiting_.size(), options_.batch));
        std::vector<std::string> records(std::make_move_iterator(waiting_.begin()),
                                         std::make_move_iterator(waiting_.begin() + count));
        waiting_.erase(waiting_.begin(), waiting_.begin() + count);
        in_flight_ = records.size();
        lock.unlock();
        deliver(std::move(records));
        lock.lock();
    }
}

void Pipeline::settle(std::uint64_t Stats::* counter, std::uint64_t count) {
    const std::lock_guard lock(mutex_);
    stats_.*counter += count;
    in_flight_ -= count;
}

bool Pipeline::pause(milliseconds span) {
    std::unique_lock lock(mutex_);
    const auto until = Clock::now() + span;
    while (Clock::now() < until && !expired()) {
        // The end may come meanwhile, and with it a limit.
        news_.wait_until(lock, stopping_ ? std::min(until, give_up_) : until);
    }
    return !expired();
}

grpc::Status Pipeline::call(const ExportRequest& request, ExportResponse& response) {
    grpc::ClientContext context;
    for (const auto& [name, value] : options_.headers) {
        context.AddMetadata(name, value);
    }
    context.set_deadline(std::chrono::system_clock::now() + options_.deadline);
    grpc::TemplatedGenericStub<ExportRequest, ExportResponse> stub(channel_);
    const auto promise = std::make_shared<std::promise<grpc::Status>>(); // outlives whichever end is done first
    auto answer = promise->get_future();
    stub.UnaryCall(&context, options_.method, grpc::StubOptions(), &request, &response,
                   [promise](grpc::Status status) { promise->set_value(std::move(status)); });
    // Whoever ends the agent does not wait for a receiver that is silent.
    constexpr milliseconds kLook{50};
    while (answer.wait_for(kLook) != std::future_status::ready) {
        const std::lock_guard lock(mutex_);
        if (expired()) {
            context.TryCancel();
            break;
        }
    }
    return answer.get();
}

void Pipeline::deliver(std::vector<std::string> records) {
    const auto count = records.size();
    ExportRequest request;
    auto& all = *request.add_resources();
    *all.mutable_resource() = options_.resource;
    auto& scope = *all.add_scopes();
    scope.mutable_scope()->set_name("weft");
    scope.mutable_scope()->set_version(WEFT_VERSION);
    for (auto& record : records) {
        scope.add_records(std::move(record));
    }
    for (auto delay = options_.first_delay;; delay = std::min(2 * delay, options_.longest_delay)) {
        ExportResponse response;
        const auto status = call(request, response);
        if (status.ok()) {
            const auto& partial = response.partial_success();
            const auto rejected = std::clamp<std::int64_t>(partial.rejected(), 0, static_cast<std::int64_t>(count));
            if (rejected > 0) {
                const std::lock_guard lock(mutex_);
                stats_.last_error = fmt::format("{} records rejected: {}", rejected, partial.error_message());
            }
            settle(&Stats::rejected, static_cast<std::uint64_t>(rejected));
            settle(&Stats::delivered, count - static_cast<std::uint64_t>(rejected));
            return;
        }
        const auto wanted = retry_delay(status);
        {
            const std::lock_guard lock(mutex_);
            stats_.last_error =
                fmt::format("{} (gRPC code {})", status.error_message(), static_cast<int>(status.error_code()));
        }
        if (!is_retryable(status.error_code(), wanted.has_value())) {
            settle(&Stats::refused, count);
            return;
        }
        if (!pause(wanted && wanted->count() > 0 ? *wanted : jittered(delay))) {
            settle(&Stats::stopped, count);
            return;
        }
        const std::lock_guard lock(mutex_);
        ++stats_.retries;
    }
}

} // namespace weft::otlp
