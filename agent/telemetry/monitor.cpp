// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/monitor.hpp"

#include <malloc.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "agent/telemetry/metrics.hpp"

namespace weft::telemetry {
namespace {

/// The names that metrics are printed with, and the lock that two scrapes at once need for them.
struct Scrapes {
    Scrapes(const std::string& trust_domain, const std::string& cluster) : names(trust_domain, cluster) {}
    TrafficNames names;
    RuleDropsNames rules;
    std::mutex mutex;
};

HttpPage probe(bool well, const char* trouble) {
    return {.status = well ? 200 : 503, .body = well ? "ok\n" : std::string(trouble) + "\n"};
}

/// Figures of /proc/self/status that end in kB, and Threads; 0 where the kernel has no such line.
std::uint64_t status_figure(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name + ":")) {
            return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10);
        }
    }
    return 0;
}

HttpPage debug(const Pulse& pulse) {
    const auto heap = ::mallinfo2();
    return {.type = "application/json",
            .body = fmt::format("{{\n"
                                "  \"heap\": {{\"used_bytes\": {}, \"free_bytes\": {}, \"mapped_bytes\": {}}},\n"
                                "  \"memory\": {{\"resident_bytes\": {}, \"peak_resident_bytes\": {}}},\n"
                                "  \"threads\": {},\n"
                                "  \"loop\": {{\"beats\": {}, \"lag_us\": {}, \"max_lag_us\": {}}}\n"
                                "}}\n",
                                heap.uordblks, heap.fordblks, heap.hblkhd, status_figure("VmRSS") * 1024,
                                status_figure("VmHWM") * 1024, status_figure("Threads"), pulse.beats(), pulse.lag_us(),
                                pulse.max_lag_us())};
}

} // namespace

Result<Monitor> Monitor::start(const MonitorOptions& options, const admin::AgentView& view,
                               const bpf::TrafficSource& traffic, const FlowRing& ring, const Pulse& pulse) {
    const auto scrapes = std::make_shared<Scrapes>(options.trust_domain, options.cluster);
    std::map<std::string, HttpPages::Make> pages;
    pages["/metrics"] = [scrapes, &view, &traffic, &ring, log = options.access_log, otlp = options.otlp] {
        const std::lock_guard lock(scrapes->mutex);
        return HttpPage{.type = "text/plain; version=0.0.4; charset=utf-8",
                        .body = metrics_page(view, traffic, ring, log, otlp, scrapes->names, scrapes->rules)};
    };
    pages["/healthz"] = [&pulse] {
        return probe(pulse.alive(Pulse::Clock::now()), "the control loop has stood still for 30 s");
    };
    pages["/readyz"] = [&pulse] { return probe(pulse.ready(), "the agent is starting or stopping"); };
    pages["/debug/"] = [&pulse] { return debug(pulse); };
    WEFT_ASSIGN(auto served, HttpPages::start(options.address, std::move(pages)));
    return Monitor(std::move(served));
}

} // namespace weft::telemetry
