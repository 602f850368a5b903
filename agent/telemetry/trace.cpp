// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/trace.hpp"

#include <algorithm>
#include <ctime>
#include <set>

#include "weft/base/ip.hpp"

namespace weft::telemetry {
namespace {

using Clock = std::chrono::steady_clock;

/// The agent reports at once: so long may an earlier step of its own be on its way.
constexpr std::chrono::milliseconds kAgentLag{100};
/// Nothing is held back for longer, whether the kernel's events were read or not: a busy control thread may let them
/// wait for seconds.
constexpr std::chrono::seconds kHeldBack{10};
/// How often what waits is looked at.
constexpr std::chrono::milliseconds kLook{50};
/// After a connection's end: what else is to be said about it has come by then.
constexpr std::chrono::milliseconds kAftermath{600};
constexpr std::size_t kMostTraces = 8;
constexpr std::size_t kMostSteps = 4096;

bool same_end(const weft_addr_port& a, const weft_addr_port& b) {
    return a.port == b.port && Ip(a.addr) == Ip(b.addr);
}

std::int64_t monotonic_ns() {
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now); // this clock always exists
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// Has all that the kernel told until `after` this moment been read? By the reading, not by a clock beside it: so
/// nothing is said to be the last while events wait.
bool read_past(std::int64_t read_until, std::int64_t at_ns, std::chrono::nanoseconds after) {
    return read_until - at_ns >= after.count() || monotonic_ns() - at_ns >= (kHeldBack + after).count();
}

} // namespace

Trace::Trace(Tracer& tracer, const TraceWish& wish, std::int64_t from_ns)
    : tracer_(tracer), wish_(wish), from_ns_(from_ns) {}

Trace::~Trace() {
    tracer_.close(this);
}

Trace::Connection* Trace::find(const TraceInput& input, std::uint32_t& number) {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        auto& one = connections_[i];
        const bool by_cookie = input.cookie != 0 && one.cookie == input.cookie;
        // Of a server's connection the agent knows the ends only; the kernel tells the cookie when it is announced.
        const bool by_ends = (input.cookie == 0 || one.cookie == 0) && input.client == one.client &&
                             input.local.port != 0 && same_end(one.local, input.local) &&
                             same_end(one.remote, input.remote) && !one.closed;
        if (by_cookie || by_ends) {
            number = static_cast<std::uint32_t>(i + 1);
            return &one;
        }
    }
    if (!input.begins || input.at_ns < from_ns_ || connections_.size() >= wish_.count ||
        (wish_.port != 0 && (input.client ? input.remote.port : input.local.port) != wish_.port)) {
        return nullptr;
    }
    auto& fresh = connections_.emplace_back();
    fresh.local = input.local;
    fresh.remote = input.remote;
    fresh.client = input.client;
    fresh.begin_ns = input.at_ns;
    number = static_cast<std::uint32_t>(connections_.size());
    return &fresh;
}

void Trace::add(const TraceInput& input) {
    if (input.netns != wish_.netns) {
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        std::uint32_t number = 0;
        auto* const connection = find(input, number);
        if (connection == nullptr || connection->closed) {
            return;
        }
        if (connection->cookie == 0) {
            connection->cookie = input.cookie;
        }
        connection->begin_ns = std::min(connection->begin_ns, input.at_ns);
        const bool announced = input.opens && !connection->opened;
        connection->opened = connection->opened || input.opens;
        if (input.ends || (input.gives_up && !connection->opened)) {
            connection->over = connection->over.value_or(monotonic_ns());
        } else if (announced) {
            connection->over.reset(); // the agent was done with it before the kernel's announcement was read
        }
        if (waiting_.size() >= kMostSteps) {
            ++lost_;
            return;
        }
        waiting_.push_back({number, input});
    }
    news_.notify_one();
}

std::vector<TraceStep> Trace::ready(bool all) {
    const auto read_until = tracer_.read_until_.load(std::memory_order_relaxed);
    std::ranges::stable_sort(waiting_, {}, [](const Waiting& one) { return one.what.at_ns; });
    std::vector<TraceStep> steps;
    std::set<std::uint32_t> held; // connections: what is later than a step that waits, waits too
    std::erase_if(waiting_, [&](const Waiting& one) {
        auto& connection = connections_[one.connection - 1];
        const bool settled = connection.over && read_past(read_until, *connection.over, kAftermath);
        const bool end = connection.over && (one.what.ends || one.what.gives_up); // the last one is told as such
        // By the time of the step, not of its coming: so nothing overtakes what happened before it.
        const bool known = read_past(read_until, one.what.at_ns, kAgentLag);
        if (!all && !settled && (end || !known || held.contains(one.connection))) {
            held.insert(one.connection);
            return false;
        }
        steps.push_back({one.connection, one.what.at_ns - connection.begin_ns, false, one.what});
        return true;
    });
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        auto& connection = connections_[i];
        if (connection.closed || !connection.over || !read_past(read_until, *connection.over, kAftermath)) {
            continue;
        }
        connection.closed = true;
        const auto last =
            std::find_if(steps.rbegin(), steps.rend(), [&](const auto& s) { return s.connection == i + 1; });
        if (last != steps.rend()) {
            last->last = true;
        }
    }
    return steps;
}

std::vector<TraceStep> Trace::wait(std::chrono::milliseconds patience) {
    const auto until = Clock::now() + patience;
    std::unique_lock lock(mutex_);
    for (;;) {
        auto steps = ready(false);
        const bool over = connections_.size() >= wish_.count && std::ranges::all_of(connections_, &Connection::closed);
        if (!steps.empty() || over || Clock::now() >= until) {
            return steps;
        }
        // What waits becomes ready without any news.
        news_.wait_until(lock, waiting_.empty() ? until : std::min(until, Clock::now() + kLook));
    }
}

std::vector<TraceStep> Trace::rest() {
    const std::lock_guard lock(mutex_);
    return ready(true);
}

bool Trace::complete() const {
    const std::lock_guard lock(mutex_);
    return connections_.size() >= wish_.count && std::ranges::all_of(connections_, &Connection::closed);
}

std::uint32_t Trace::seen() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::uint32_t>(connections_.size());
}

std::uint64_t Trace::lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
}

Result<std::unique_ptr<Trace>> Tracer::open(const TraceWish& wish) {
    const std::lock_guard one_at_a_time(open_mutex_);
    std::size_t running = 0;
    {
        const std::lock_guard lock(mutex_);
        running = traces_.size();
    }
    if (running >= kMostTraces) {
        return failure(EBUSY, "{} traces run already; wait until one has ended", kMostTraces);
    }
    if (running == 0) {
        active_.store(true, std::memory_order_relaxed);
        if (auto armed = arm_ ? arm_(true) : Result<>(); !armed) {
            active_.store(false, std::memory_order_relaxed);
            (void)arm_(false); // what it did of its work
            return std::unexpected(armed.error());
        }
    }
    auto trace = std::make_unique<Trace>(*this, wish, monotonic_ns());
    const std::lock_guard lock(mutex_);
    traces_.push_back(trace.get());
    return trace;
}

void Tracer::close(const Trace* trace) {
    const std::lock_guard one_at_a_time(open_mutex_);
    {
        const std::lock_guard lock(mutex_);
        std::erase(traces_, trace);
        if (!traces_.empty()) {
            return;
        }
    }
    active_.store(false, std::memory_order_relaxed);
    if (arm_) {
        (void)arm_(false); // failing, hooks report what nobody takes, until the next trace has ended
    }
}

void Tracer::report(const TraceInput& input) {
    if (!active()) {
        return;
    }
    const std::lock_guard lock(mutex_);
    for (auto* trace : traces_) {
        trace->add(input);
    }
}

} // namespace weft::telemetry
