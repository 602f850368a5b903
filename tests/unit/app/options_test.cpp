// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/options.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace weft::app {
namespace {

class OptionsTest : public ::testing::Test {
protected:
    std::string file = "/tmp/weft-options-" + std::to_string(::getpid()) + ".yaml";
    void write(const std::string& text) const { std::ofstream(file) << text; }
    void TearDown() override {
        ::unlink(file.c_str());
        ::unsetenv("WEFT_NODE_NAME");
    }
};

TEST_F(OptionsTest, FlagsWinOverEnvironmentOverFile) {
    write("node_name: from-file\nmanifests: /tmp\nrepair_interval: 7\n");
    EXPECT_EQ(parse_options({"--config", file})->options.node_name, "from-file");
    EXPECT_EQ(parse_options({"--config", file})->options.repair_interval.count(), 7);
    ::setenv("WEFT_NODE_NAME", "from-env", 1);
    EXPECT_EQ(parse_options({"--config", file})->options.node_name, "from-env");
    EXPECT_EQ(parse_options({"--config=" + file, "--node-name=from-flag"})->options.node_name, "from-flag");
}

TEST_F(OptionsTest, ErrorsNameFileLineKeyAndRemedy) {
    const auto message = [&](const std::string& text) {
        write(text);
        const auto result = parse_options({"--config", file, "--manifests", "/tmp"});
        return result ? std::string("accepted") : result.error().message();
    };
    EXPECT_NE(message("node_name: a\nnode_nam: b\n").find(file + ":2: unknown key 'node_nam'"), std::string::npos);
    EXPECT_NE(
        message("repair_interval: soon\n").find(file + ":1: repair_interval: 'soon' is not a number from 1 to 3600"),
        std::string::npos);
    EXPECT_NE(
        message("log_level: info\nlog_level: debug\n").find(file + ":2: log_level: said before, at " + file + ":1"),
        std::string::npos);
    for (const auto* address : {"1.2.3.4", ":80", "1.2.3.4:x", "1.2.3.4:70000", "::1:80"}) {
        EXPECT_NE(message("metrics_address: \"" + std::string(address) + "\"\n").find("is not HOST:PORT"),
                  std::string::npos)
            << address;
    }
    EXPECT_EQ(message("metrics_address: \"[::1]:80\"\n"), "accepted");
    EXPECT_NE(message("log_level: loud\n").find("not one of: trace"), std::string::npos);
    EXPECT_NE(message("run_dir: relative\n").find("not an absolute path"), std::string::npos);
    EXPECT_NE(message("a: [1\n").find("not valid YAML"), std::string::npos);
    EXPECT_NE(message("- a\n").find("must be a mapping"), std::string::npos);
    EXPECT_NE(message("node_name: {a: b}\n").find("must be a single value"), std::string::npos);
}

TEST_F(OptionsTest, RefusesWhatItDoesNotKnowOrMiss) {
    EXPECT_NE(parse_options({"--manifest", "/tmp"}).error().message().find("unknown argument"), std::string::npos);
    EXPECT_NE(parse_options({"--manifests"}).error().message().find("needs a value"), std::string::npos);
    EXPECT_NE(parse_options({}).error().message().find("--manifests DIR"), std::string::npos);
    EXPECT_NE(parse_options({"--config", "/no/such"}).error().message().find("/no/such: cannot be read"),
              std::string::npos);
}

TEST_F(OptionsTest, HelpListsEveryKeyThatDescribePrints) {
    const auto invocation = parse_options({"--help"});
    const std::string described = describe(parse_options({"--manifests", "/tmp"})->options);
    std::size_t keys = 0;
    for (std::size_t start = 0; start < described.size(); start = described.find('\n', start) + 1) {
        std::string key = described.substr(start, described.find(':', start) - start);
        std::ranges::replace(key, '_', '-');
        EXPECT_NE(invocation->help.find("--" + key), std::string::npos) << key;
        ++keys;
    }
    EXPECT_GE(keys, 12U);
}

} // namespace
} // namespace weft::app
