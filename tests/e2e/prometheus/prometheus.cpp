// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/prometheus/prometheus.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

constexpr const char* kAddress = "127.0.0.1:9990";

} // namespace

Prometheus::Prometheus(std::string netns, std::string folder, const std::string& rules) : netns_(std::move(netns)) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/prometheus.yml")
        << fmt::format(R"(global: {{scrape_interval: 500ms, evaluation_interval: 1s}}
rule_files: [{}]
scrape_configs:
- job_name: weft
  static_configs: [{{targets: ["127.0.0.1:9964"]}}]
)",
                       rules.empty() ? "" : "'" + rules + "'");
    // setpriv: it ends with this program, whatever that ends by.
    auto child =
        lab::launch({.argv = {"setpriv", "--pdeathsig", "KILL", "prometheus",
                              "--config.file=" + folder + "/prometheus.yml", "--storage.tsdb.path=" + folder + "/data",
                              std::string("--web.listen-address=") + kAddress, "--log.level=warn"},
                     .netns = netns_,
                     .log_file = folder + "/prometheus.log",
                     .new_session = true});
    if (!child) {
        ADD_FAILURE() << child.error().message();
        return;
    }
    child_ = std::move(*child);
    EXPECT_TRUE(eventually([&] { return get("/-/ready", "").find("Ready") != std::string::npos; }, 60))
        << std::ifstream(folder + "/prometheus.log").rdbuf();
}

Prometheus::~Prometheus() {
    if (child_.pid > 0) {
        (void)::kill(child_.pid, SIGKILL); // ours, and not reaped yet; its data goes with the folder
        (void)::waitpid(child_.pid, nullptr, 0);
    }
}

std::string Prometheus::get(const std::string& path, const std::string& parameter) const {
    std::vector<std::string> argv{"curl", "-s", "-m", "20", "-G", std::string("http://") + kAddress + path};
    if (!parameter.empty()) {
        argv.insert(argv.end(), {"--data-urlencode", parameter});
    }
    const auto done = lab::run_captured({.argv = argv, .netns = netns_});
    return done ? done->output : "";
}

nlohmann::json Prometheus::ask(const std::string& path, const std::string& parameter) const {
    const auto text = get("/api/v1/" + path, parameter);
    auto answer = nlohmann::json::parse(text, nullptr, false);
    if (answer.is_discarded() || answer.value("status", "") != "success") {
        ADD_FAILURE() << path << " " << parameter << ": " << text;
        return {};
    }
    return answer["data"];
}

nlohmann::json Prometheus::query(const std::string& expression) const {
    const auto data = ask("query", "query=" + expression);
    return data.is_object() ? data["result"] : nlohmann::json();
}

std::optional<double> Prometheus::value(const std::string& expression) const {
    const auto result = query(expression);
    if (!result.is_array() || result.size() != 1) {
        return std::nullopt;
    }
    return std::stod(result[0]["value"][1].get<std::string>());
}

} // namespace weft::e2e
