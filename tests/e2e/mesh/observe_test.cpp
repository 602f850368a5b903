// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What an operator sees of a connection by mutual TLS: who it is, what it carries, and its life step by step.
#include <algorithm>
#include <fstream>
#include <future>
#include <sstream>

#include <gmock/gmock.h>

#include "tests/e2e/mesh/mesh_lab.hpp"

namespace weft::e2e {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MeshSeen : public MeshLab {
protected:
    /// `weft conn trace` of a node, in the background; it has begun when this returns.
    class Tracing {
    public:
        Tracing(const std::string& node, const std::string& pod)
            : words_(fmt::format("{}/words-{}", lab().folder(), node)) {
            const auto socket = "/run/weft/lab/" + lab().name() + "/nodes/" + node + "/admin.sock";
            const auto command = fmt::format("exec {} --socket {} conn trace {} --port 7000 --timeout {}s -o json 2>{}",
                                             weft_program(), socket, pod, kPatience, words_);
            output_ = std::async(std::launch::async, [command] {
                return lab::run_captured({.argv = {"sh", "-c", command}}, (kPatience + 60) * 1000);
            });
            EXPECT_TRUE(eventually(
                [&] {
                    std::ostringstream text;
                    text << std::ifstream(words_).rdbuf();
                    return text.str().find("waiting for the next connection") != std::string::npos;
                },
                kPatience))
                << node;
        }
        std::vector<nlohmann::json> steps() {
            const auto done = output_.get();
            EXPECT_TRUE(done && done->exit_code == 0);
            std::vector<nlohmann::json> steps;
            std::istringstream lines(done ? done->output : "");
            for (std::string line; std::getline(lines, line);) {
                steps.push_back(nlohmann::json::parse(line, nullptr, false));
            }
            return steps;
        }

    private:
        std::string words_;
        std::future<Result<lab::Finished>> output_;
    };

    static std::vector<std::string> names(const std::vector<nlohmann::json>& steps) {
        std::vector<std::string> names;
        for (const auto& step : steps) {
            // A session that the peer has forgotten is followed by a full handshake, which proves once more.
            if (auto name = step.value("step", ""); name != "peer-proven" || !std::ranges::count(names, name)) {
                names.push_back(std::move(name));
            }
        }
        return names;
    }
    static std::string detail(const std::vector<nlohmann::json>& steps, const std::string& name) {
        for (const auto& step : steps) {
            if (step.value("step", "") == name) {
                return step.value("detail", "");
            }
        }
        return "no step " + name;
    }
};

TEST_F(MeshSeen, TracesTellBothHalvesOfAConnectionsLife) {
    Tracing client("node-1", "shop/client");
    Tracing server("node-2", "shop/api");
    EXPECT_EQ(peer("client", {"mark", address("api"), "1000"}), "ok 1000\n");
    const auto begun = client.steps();
    const auto taken = server.steps();

    std::vector<std::string> moved{"carried"};
    if (expected_tier() == "relay") {
        moved = {"keys-installed", "carried", "relay-took"};
    }
    std::vector<std::string> wanted{"connect",         "established", "accepted",      "dialled",
                                    "handshake-begun", "peer-proven", "handshake-done"};
    wanted.insert(wanted.end(), moved.begin(), moved.end());
    wanted.insert(wanted.end(), {"first-byte-sent", "first-byte-received", "closed", "ended"});
    EXPECT_THAT(names(begun), ::testing::UnorderedElementsAreArray(wanted));
    wanted = {"accepted", "handshake-begun", "peer-proven", "handshake-done", "established", "application-connected"};
    wanted.insert(wanted.end(), moved.begin(), moved.end());
    wanted.insert(wanted.end(), {"first-byte-received", "first-byte-sent", "closed", "ended"});
    EXPECT_THAT(names(taken), ::testing::UnorderedElementsAreArray(wanted));

    for (const auto* steps : {&begun, &taken}) {
        double last = 0;
        for (const auto& step : *steps) {
            EXPECT_GE(step.value("since_begin_seconds", 0.0), last) << step.dump();
            last = step.value("since_begin_seconds", 0.0);
            EXPECT_EQ(step.value("connection", 0), 1);
            EXPECT_EQ(step.value("role", ""), steps == &begun ? "client" : "server");
            EXPECT_EQ(step.value("peer", ""), steps == &begun ? "shop/api" : "shop/client");
        }
        ASSERT_FALSE(steps->empty());
        EXPECT_TRUE(steps->back().value("last", false));
        EXPECT_THAT(detail(*steps, "handshake-done"), StartsWith("TLS_"));
        EXPECT_THAT(detail(*steps, "carried"), StartsWith("tier " + expected_tier()));
        EXPECT_THAT(detail(*steps, "ended"), StartsWith("finished; "));
    }
    EXPECT_EQ(begun.front().value("remote", ""), address("api") + ":7000");
    EXPECT_EQ(begun.front().value("local", ""), taken.front().value("remote", "")) << "one connection on the wire";
    EXPECT_THAT(detail(begun, "peer-proven"), HasSubstr("/ns/shop/sa/api"));
    EXPECT_THAT(detail(taken, "peer-proven"), HasSubstr("/ns/shop/sa/default"));
    EXPECT_THAT(detail(begun, "closed"), StartsWith("closed by the workload; "));
}

TEST_F(MeshSeen, ConnectionsAndCertificatesAreListed) {
    const auto transfer = peer_in_background("client", {"echo", address("api"), "FILE"});
    ASSERT_TRUE(transfer->goes_on(100000));
    for (const auto* node : {"node-1", "node-2"}) {
        nlohmann::json shown;
        EXPECT_TRUE(eventually(
            [&] {
                shown = listed_connection(node);
                return !shown.is_null() && std::stoull(shown["bytes_sent"].get<std::string>()) > 100000 &&
                       std::stoull(shown["bytes_received"].get<std::string>()) > 100000;
            },
            kPatience))
            << node << ": " << shown.dump(1);
        ASSERT_TRUE(shown.is_object());
        EXPECT_GT(shown["age_seconds"].get<double>(), 0);
        EXPECT_NE(shown["own_identity"], shown["peer_identity"]);
        EXPECT_THAT(shown["cipher"].get<std::string>(), StartsWith("TLS_"));
        const auto certificates = ask(node, {"certificate", "list"})["certificates"];
        ASSERT_EQ(certificates.size(), 1U) << certificates.dump(1);
        const auto& one = certificates[0];
        EXPECT_EQ(one["id"], shown["own_identity"]);
        EXPECT_EQ(one["phase"], "valid");
        EXPECT_THAT(one["source"].get<std::string>(), StartsWith("weft-ca "));
        EXPECT_THAT(one["expires"].get<std::string>(), EndsWith("Z"));
        EXPECT_FALSE(shown["own_serial"].get<std::string>().empty());
    }
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

} // namespace
} // namespace weft::e2e
