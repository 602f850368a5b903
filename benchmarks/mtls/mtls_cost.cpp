// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does mutual TLS cost, beside plain TCP, an application's own kernel TLS, and pairs of HAProxy and nginx? JSON on
// standard output, a table on standard error. `make bench-mtls` runs it in guests whose clock counts instructions.
#include <sys/utsname.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include <fmt/core.h>

#include "benchmarks/mtls/paths.hpp"
#include "benchmarks/mtls/peer.hpp"

namespace weft::bench {
namespace {

constexpr int kIdle = 200;

void print_row(const std::string& name, const nlohmann::json& figures, const nlohmann::json& plain) {
    const auto number = [](const nlohmann::json& j, const char* key, const char* part = nullptr) {
        return (part != nullptr ? j.at(key).at(part) : j.at(key)).get<double>();
    };
    fmt::print(
        stderr,
        "{:<16}{:>10.0f} ({:>5.2f}){:>9.0f} {:>7.0f} ({:>5.2f}){:>9.0f} {:>7.0f} ({:>5.2f}){:>8.0f}{:>9.0f}{:>9}\n",
        name, number(figures, "bulk_us_per_mib"), number(figures, "bulk_us_per_mib") / number(plain, "bulk_us_per_mib"),
        number(figures, "small_us", "p50"), number(figures, "small_us", "p99"),
        number(figures, "small_us", "p50") / number(plain, "small_us", "p50"), number(figures, "large_us", "p50"),
        number(figures, "large_us", "p99"), number(figures, "large_us", "p50") / number(plain, "large_us", "p50"),
        number(figures, "connects_per_second"), number(figures, "connect_us", "p50"),
        figures.contains("kib_per_1000_idle") ? fmt::format("{:.0f}", figures["kib_per_1000_idle"].get<double>())
                                              : "-");
}

/// Weft again, with a whole handshake for every connection.
Result<nlohmann::json> without_resumption() {
    (void)::setenv("WEFT_SESSION_RESUMPTION", "false", 1); // the lab's agents inherit it
    WEFT_ASSIGN(const auto paths, Paths::start());
    return paths.measure(paths.all().back());
}

Result<nlohmann::json> run() {
    WEFT_ASSIGN(const auto paths, Paths::start());
    utsname kernel{};
    (void)::uname(&kernel);
    nlohmann::json result{{"kernel", kernel.release}};
    fmt::print(stderr, "Linux {}\n{:<16}{:>18}{:>25}{:>25}{:>8}{:>9}{:>9}\n", kernel.release, "path", "bulk us/MiB",
               "64 B us p50 p99", "64 KiB us p50 p99", "conn/s", "p50 us", "KiB/1000");
    WEFT_ASSIGN(const auto tier, paths.tier());
    const auto one = [&](const Path& path, const std::string& name) -> Result<> {
        WEFT_ASSIGN(auto figures, paths.measure(path));
        if (!path.idle_of.empty()) {
            WEFT_ASSIGN(const double idle, paths.idle_cost(path, kIdle));
            figures["kib_per_1000_idle"] = idle * 1000 / kIdle;
        }
        result["paths"][name] = figures;
        print_row(name, figures, result["paths"]["plain"]);
        return {};
    };
    for (const auto& path : paths.all()) {
        WEFT_TRY(one(path, path.name == "weft" ? "weft_" + tier : path.name));
    }
    if (tier == "relay") {
        WEFT_TRY(paths.end_relays());
        WEFT_ASSIGN(const auto now, paths.tier());
        WEFT_TRY(one(paths.all().back(), "weft_" + now));
    }
    return result;
}

Result<> all() {
    WEFT_ASSIGN(auto result, run());
    WEFT_ASSIGN(const auto full, without_resumption());
    print_row("weft_full", full, result["paths"]["plain"]);
    result["paths"]["weft_full"] = full;
    fmt::print("{}\n", result.dump());
    return {};
}

} // namespace
} // namespace weft::bench

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "peer") {
        return weft::bench::peer({argv + 2, argv + argc});
    }
    if (const auto done = weft::bench::all(); !done) {
        fmt::print(stderr, "mtls_cost: {}\n", done.error().message());
        return 1;
    }
    return 0;
}
