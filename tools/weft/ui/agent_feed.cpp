// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/weft/ui/agent_feed.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <utility>

#include <google/protobuf/util/time_util.h>

#include "tools/weft/ui/clock.hpp"

namespace weft::ui {
namespace {

using google::protobuf::util::TimeUtil;
using namespace std::chrono_literals;

constexpr auto kTryAgain = 1s;
constexpr auto kAskAgain = 2s;
/// An agent that restarts is back before; its node's connections have outlived it.
constexpr auto kGone = 60s;
/// The list of open sockets may be long: asking takes at most a tenth of the agent's thread.
constexpr int kRest = 10;

/// False when `stop` was asked for before the time was over.
bool rest(std::chrono::nanoseconds time, const std::stop_token& stop) {
    std::mutex mutex; // wait_for needs one; nobody else has it
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    never.wait_for(lock, stop, time, [] { return false; });
    return !stop.stop_requested();
}

} // namespace

AgentFeed::AgentFeed(std::string socket, std::size_t number, ServiceGraph& graph)
    : socket_(std::move(socket)), number_(number), graph_(graph),
      thread_([this](const std::stop_token& stop) { follow(stop); }) {}

bool AgentFeed::set_away(const std::string& why) {
    const std::lock_guard lock(mutex_);
    state_.error = why;
    return std::exchange(state_.connected, false);
}

void AgentFeed::follow(const std::stop_token& stop) {
    auto contact = std::chrono::steady_clock::now();
    while (!stop.stop_requested()) {
        const auto done = follow_once(stop);
        const auto now = std::chrono::steady_clock::now();
        if (set_away(done ? "the agent ended the stream of flows" : done.error().message())) {
            contact = now;
        } else if (now - contact > kGone) {
            graph_.forget_connections(number_);
        }
        if (!rest(kTryAgain, stop)) {
            return;
        }
    }
}

Result<> AgentFeed::follow_once(const std::stop_token& stop) {
    WEFT_ASSIGN(auto client, cli::Client::connect(socket_));
    // First who is who, so that connections which are open already find their edges.
    WEFT_TRY(ask_once(client, stop));
    std::jthread asking([&](const std::stop_token& enough) { ask(client, enough); });
    const std::stop_callback both(stop, [&] { asking.request_stop(); });

    const auto window = std::chrono::nanoseconds(std::chrono::seconds(EdgeWindow::kSeconds));
    const auto since = std::max(seen_ns_ + 1, static_cast<std::int64_t>(now_seconds() * 1e9) - window.count());
    observer::GetFlowsRequest request;
    request.set_follow(true);
    *request.mutable_since() = TimeUtil::NanosecondsToTimestamp(since);
    return client.flows(
        request,
        [&](const observer::GetFlowsResponse& response) {
            if (response.has_flow()) {
                seen_ns_ = std::max(seen_ns_, TimeUtil::TimestampToNanoseconds(response.flow().time()));
                graph_.add(number_, response.flow(), now_seconds());
            } else if (response.has_lost_events()) {
                const std::lock_guard lock(mutex_);
                state_.lost += response.lost_events().num_events_lost();
            }
        },
        stop);
}

void AgentFeed::ask(cli::Client& client, const std::stop_token& stop) {
    std::chrono::nanoseconds pause = kAskAgain;
    while (rest(pause, stop)) {
        const auto begin = std::chrono::steady_clock::now();
        if (const auto asked = ask_once(client, stop); !asked && !stop.stop_requested()) {
            const std::lock_guard lock(mutex_);
            state_.error = asked.error().message();
        }
        pause = std::max<std::chrono::nanoseconds>(kAskAgain, kRest * (std::chrono::steady_clock::now() - begin));
    }
}

Result<> AgentFeed::ask_once(cli::Client& client, const std::stop_token& stop) {
    WEFT_ASSIGN(const auto status, client.status());
    WEFT_ASSIGN(const auto endpoints, client.endpoints({}));
    graph_.endpoints(number_, endpoints);
    const auto listing = graph_.begin_listing(number_);
    std::vector<admin::Connection> list;
    WEFT_TRY(client.connections({}, [&](const admin::Connection& connection) { list.push_back(connection); }, stop));
    if (stop.stop_requested()) {
        return {}; // the list is not whole
    }
    graph_.connections(number_, listing, list, now_seconds());
    const std::lock_guard lock(mutex_);
    state_.node = status.node_name();
    state_.version = status.version();
    state_.tier = status.mutual_tls().tier();
    state_.problems = static_cast<std::uint64_t>(status.problems_size());
    state_.connected = true;
    state_.error.clear();
    return {};
}

nlohmann::json AgentFeed::state() const {
    const std::lock_guard lock(mutex_);
    return {{"socket", socket_},           {"node", state_.node},
            {"version", state_.version},   {"connected", state_.connected},
            {"error", state_.error},       {"mutual_tls_tier", state_.tier},
            {"problems", state_.problems}, {"lost", state_.lost}};
}

} // namespace weft::ui
