// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Children in the pods, lines over pipes.
#include "tools/lab/probe_run.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <charconv>

namespace weft::lab {
namespace {

using Clock = std::chrono::steady_clock;

/// Hands out the complete lines of several children until `on_line` has seen enough or all have ended.
class LineReader {
public:
    explicit LineReader(const std::vector<Helper>& helpers) {
        for (const auto& helper : helpers) {
            events_.push_back({helper.output(), POLLIN, 0});
        }
        partial_.resize(helpers.size());
    }

    /// Error: ETIMEDOUT.
    Result<> run(Clock::time_point deadline,
                 const std::function<void(std::size_t child, const std::string& line)>& on_line) {
        while (std::ranges::any_of(events_, [](const pollfd& event) { return event.fd >= 0; })) {
            if (Clock::now() > deadline) {
                return failure(ETIMEDOUT, "the probes did not end in time: is the machine overloaded?");
            }
            (void)::poll(events_.data(), events_.size(), 100);
            for (std::size_t i = 0; i < events_.size(); ++i) {
                if (events_[i].fd >= 0 && events_[i].revents != 0) {
                    read(i, on_line);
                }
            }
        }
        return {};
    }

    /// No more from this child.
    void leave(std::size_t child) { events_[child].fd = -1; }

private:
    void read(std::size_t child, const std::function<void(std::size_t, const std::string&)>& on_line) {
        std::array<char, 65536> block{};
        const auto got = ::read(events_[child].fd, block.data(), block.size());
        if (got <= 0) {
            leave(child);
            return;
        }
        auto& text = partial_[child];
        text.append(block.data(), static_cast<std::size_t>(got));
        for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
            const auto line = text.substr(0, end);
            text.erase(0, end + 1);
            on_line(child, line);
        }
    }

    std::vector<pollfd> events_;
    std::vector<std::string> partial_;
};

/// "TCP 80 taken" to its port; nullopt for other lines.
std::optional<ListenPort> taken_port(const std::string& line) {
    const auto first = line.find(' ');
    if (first == std::string::npos || !line.ends_with(" taken")) {
        return std::nullopt;
    }
    std::uint16_t port = 0;
    (void)std::from_chars(line.data() + first + 1, line.data() + line.size(), port); // our own child wrote it
    return ListenPort{protocol_number(line.substr(0, first)).value_or(0), port};
}

} // namespace

Result<std::vector<probe::Answer>> run_probes(ProbePlan plan, std::size_t count) {
    std::vector<probe::Answer> answers(count);
    for (const auto& [index, why] : plan.errors) {
        answers[index].error = why;
    }
    std::vector<Helper> responders;
    std::vector<Place> places;
    for (const auto& [place, answerer] : plan.answerers) {
        WEFT_ASSIGN(auto helper, fork_into(place, [&](int output) { respond(answerer.name, answerer.ports, output); }));
        responders.push_back(std::move(helper));
        places.push_back(place);
    }
    std::set<std::pair<Place, ListenPort>> taken;
    std::string fault;
    LineReader ready(responders);
    WEFT_TRY(ready.run(Clock::now() + std::chrono::seconds(20), [&](std::size_t child, const std::string& line) {
        if (line == "done") {
            ready.leave(child);
        } else if (const auto port = taken_port(line)) {
            taken.insert({places[child], *port});
        } else if (line.starts_with("error ")) {
            fault = fmt::format("{}: {}", plan.answerers.at(places[child]).name, line.substr(6));
        }
    }));
    if (!fault.empty()) {
        return failure(EIO, "cannot answer probes in {}", fault);
    }
    std::vector<Helper> probers;
    std::size_t longest = 0;
    for (auto& [place, dials] : plan.dials) {
        for (auto& dial : dials) {
            const auto& behind = plan.behind[dial.index];
            dial.must_answer = std::ranges::none_of(behind, [&](const auto& end) { return taken.contains(end); });
        }
        longest = std::max(longest, dials.size());
        WEFT_ASSIGN(auto helper, fork_into(place, [&](int output) { dial_all(dials, output); }));
        probers.push_back(std::move(helper));
    }
    std::vector<bool> answered(count);
    const auto note = [&](std::size_t, const std::string& line) {
        const auto result = parse_dial_result(line);
        if (!result || result->index >= count) {
            fault = line;
            return;
        }
        auto& answer = answers[result->index];
        answered[result->index] = true;
        answer = {.verdict = result->verdict,
                  .error = result->error,
                  .rule = {},
                  .answered_by = result->answered_by,
                  .ms = result->ms};
        // An application that answers itself does not say who it is; with one candidate that is known anyway.
        if (const auto& behind = plan.behind[result->index];
            answer.verdict == probe::Verdict::kAllow && answer.answered_by.empty() && behind.size() == 1) {
            answer.answered_by = plan.answerers.at(behind.begin()->first).name;
        }
    };
    WEFT_TRY(LineReader(probers).run(Clock::now() + std::chrono::seconds(10 + longest / 50), note));
    for (std::size_t i = 0; i < count; ++i) {
        if (!answered[i] && !plan.errors.contains(i)) {
            answers[i].error = fault.empty() ? "the probing process ended early" : fault;
        }
    }
    return answers;
}

} // namespace weft::lab
