// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Each verb from environment and stdin to stdout and exit status, against an agent on a real socket: well-behaved,
// refusing, absent, silent and rogue.
#include <gtest/gtest.h>

#include <map>

#include "cni-plugin/netconf.hpp"
#include "cni-plugin/run.hpp"
#include "tests/unit/cni/scripted_agent.hpp"

using namespace std::string_literals;

namespace weft::cni {
namespace {

constexpr const char* kPrevResult =
    R"({"cniVersion":"1.1.0","zebra":{"b":1,"a":[1.5,true,null,"\u00e4"]},)"
    R"("interfaces":[{"name":"veth"},{"name":"eth0","sandbox":"/run/netns/x","mtu":9000}],)"
    R"("ips":[{"address":"10.1.0.5/24","interface":1,"gateway":"10.1.0.1"},{"address":"fd00::5/64","interface":1}],)"
    R"("routes":[],"dns":{"nameservers":["10.0.0.10"]}})";

class Verbs : public ::testing::Test {
protected:
    Outcome call(const std::string& command, const std::string& more = "", const std::string& version = "1.1.0") {
        variables_["CNI_COMMAND"] = command;
        return run(
            [this](const char* name) {
                const auto at = variables_.find(name);
                return at == variables_.end() ? nullptr : at->second.c_str();
            },
            R"({"cniVersion":")" + version +
                R"(","name":"cluster","type":"weft-cni","timeoutSeconds":1,"agentSocket":")" + socket_ + "\"" + more +
                "}");
    }
    static std::string with_prev() { return R"(,"prevResult":)"s + kPrevResult; }
    static Json json(const Outcome& outcome) { return Json::parse(outcome.output); }
    static void expect_error(const Outcome& outcome, int code, const std::string& words) {
        EXPECT_NE(outcome.exit_status, 0);
        const Json error = Json::parse(outcome.output, nullptr, false);
        ASSERT_TRUE(error.is_object()) << outcome.output;
        EXPECT_EQ(error["code"], code) << outcome.output;
        EXPECT_NE((error["msg"].get<std::string>() + " " + error["details"].get<std::string>()).find(words),
                  std::string::npos)
            << outcome.output;
        EXPECT_TRUE(error["cniVersion"].is_string());
        EXPECT_EQ(error.size(), 4U);
    }
    void start_agent() { agent_ = std::make_unique<test::ScriptedAgent>(socket_); }

    test::Folder folder_;
    std::string socket_ = folder_.path("enrol.sock");
    std::map<std::string, std::string> variables_ = {
        {"CNI_CONTAINERID", "abc"},
        {"CNI_NETNS", "/run/netns/x"},
        {"CNI_IFNAME", "eth0"},
        {"CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u1"}};
    std::unique_ptr<test::ScriptedAgent> agent_;
};

TEST_F(Verbs, AddTellsTheAgentAndPassesPrevResultOn) {
    start_agent();
    for (const auto version : kVersions) {
        const Outcome outcome = call("ADD", with_prev(), std::string(version));
        EXPECT_EQ(outcome.exit_status, 0) << outcome.output;
        EXPECT_EQ(json(outcome).dump(), Json::parse(kPrevResult).dump()) << "same keys, same order, same values";
    }
    const auto requests = agent_->requests();
    ASSERT_EQ(requests.size(), kVersions.size());
    ASSERT_TRUE(requests[0].has_add());
    EXPECT_EQ(requests[0].protocol(), 1U);
    const enrol::Add& add = requests[0].add();
    EXPECT_EQ(add.container_id(), "abc");
    EXPECT_EQ(add.netns(), "/run/netns/x");
    EXPECT_EQ(add.ifname(), "eth0");
    EXPECT_EQ(add.pod_namespace(), "shop");
    EXPECT_EQ(add.pod_name(), "web");
    EXPECT_EQ(add.pod_uid(), "u1");
    EXPECT_EQ(add.network(), "cluster");
    EXPECT_EQ((std::vector<std::string>(add.ips().begin(), add.ips().end())),
              (std::vector<std::string>{"10.1.0.5", "fd00::5"}));
}

TEST_F(Verbs, AddNamesTheVersionWhenPrevResultDoesNot) {
    start_agent();
    const Outcome outcome = call("ADD", R"(,"prevResult":{"ips":[{"address":"10.1.0.5/24"}]})", "0.4.0");
    ASSERT_EQ(outcome.exit_status, 0) << outcome.output;
    EXPECT_EQ(json(outcome)["cniVersion"], "0.4.0");
}

TEST_F(Verbs, AddWithoutPrevResultMustBeChained) {
    start_agent();
    expect_error(call("ADD"), 7, "chained after an interface plugin");
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Verbs, AddWithoutPodIsAnEnvironmentError) {
    start_agent();
    variables_["CNI_ARGS"] = "K8S_POD_NAMESPACE=shop";
    expect_error(call("ADD", with_prev()), 4, "K8S_POD_NAME");
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Verbs, AddMapsTheAgentsAnswers) {
    start_agent();
    const std::vector<std::pair<enrol::Response::Code, int>> cases = {
        {enrol::Response::INVALID, 7},      {enrol::Response::UNAVAILABLE, 11},
        {enrol::Response::UNSUPPORTED, 11}, {enrol::Response::INTERNAL, 100},
        {enrol::Response::NOT_FOUND, 3},    {static_cast<enrol::Response::Code>(77), 100}};
    for (const auto& [code, expected] : cases) {
        agent_->answer(code, "because of the test");
        expect_error(call("ADD", with_prev()), expected, "because of the test");
    }
}

TEST_F(Verbs, AddWithoutAgentSaysTryAgainAndWhatToDo) {
    expect_error(call("ADD", with_prev()), 11, "start weftd");
}

TEST_F(Verbs, AddWithADeadAgentsSocketSaysTheSame) {
    start_agent();
    agent_.reset();
    {
        const test::RogueAgent dead(socket_, "", false);
    } // leaves its socket file behind
    expect_error(call("ADD", with_prev()), 11, "start weftd");
}

TEST_F(Verbs, AddSurvivesARogueAgent) {
    const std::vector<std::tuple<std::string, std::string, bool, int>> cases = {
        {"closes at once", "", false, 11},
        {"stays silent", "", true, 11},
        {"stops in the length", "\0\0"s, true, 11},
        {"stops in the message", "\0\0\0\x10\x08\1"s, true, 11},
        {"closes in the message", "\0\0\0\x10\x08\1"s, false, 11},
        {"announces too much", "\xff\xff\xff\xff"s, true, 5},
        {"sends nonsense", "\0\0\0\4\xff\xff\xff\xff"s, true, 5},
        {"sends more than one frame", "\0\0\0\0\0\0\0\0"s, true, 5},
    };
    int number = 0;
    for (const auto& [what, bytes, keep_open, code] : cases) {
        SCOPED_TRACE(what);
        socket_ = folder_.path("rogue" + std::to_string(number++));
        const test::RogueAgent rogue(socket_, bytes, keep_open);
        expect_error(call("ADD", with_prev()), code, "");
    }
}

TEST_F(Verbs, DelTellsTheAgent) {
    start_agent();
    variables_["CNI_NETNS"] = "";
    for (int i = 0; i < 5; ++i) {
        const Outcome outcome = call("DEL", with_prev());
        EXPECT_EQ(outcome.exit_status, 0) << outcome.output;
        EXPECT_EQ(outcome.output, "");
    }
    ASSERT_EQ(agent_->requests().size(), 5U);
    EXPECT_EQ(agent_->requests()[0].del().container_id(), "abc");
    EXPECT_EQ(agent_->requests()[0].del().ifname(), "eth0");
    EXPECT_EQ(agent_->requests()[0].del().network(), "cluster");
}

TEST_F(Verbs, DelSucceedsWhateverTheAgentDoes) {
    EXPECT_EQ(call("DEL").exit_status, 0) << "no agent";
    start_agent();
    agent_->answer(enrol::Response::INTERNAL, "no");
    EXPECT_EQ(call("DEL").exit_status, 0) << "refusing agent";
    agent_.reset();
    const test::RogueAgent silent(socket_, "", true);
    EXPECT_EQ(call("DEL").exit_status, 0) << "silent agent";
}

TEST_F(Verbs, DelSucceedsWithFaultsItNeedNotMind) {
    start_agent();
    const Outcome outcome = call("DEL", R"(,"typo":1,"prevResult":[])");
    EXPECT_EQ(outcome.exit_status, 0) << outcome.output;
    EXPECT_EQ(agent_->requests().size(), 1U);
}

TEST_F(Verbs, CheckAsksTheAgent) {
    start_agent();
    EXPECT_EQ(call("CHECK", with_prev()).exit_status, 0);
    const auto requests = agent_->requests();
    EXPECT_EQ(requests.at(0).check().container_id(), "abc");
    EXPECT_EQ(requests.at(0).check().ifname(), "eth0");
    EXPECT_EQ(requests.at(0).check().ips_size(), 2);
    agent_->answer(enrol::Response::NOT_FOUND, "container abc is not enrolled");
    expect_error(call("CHECK", with_prev()), 3, "not enrolled");
    agent_->answer(enrol::Response::INVALID, "ips: differ");
    expect_error(call("CHECK", with_prev()), 7, "ips");
    expect_error(call("CHECK"), 7, "prevResult");
}

TEST_F(Verbs, GcPassesTheListOn) {
    start_agent();
    EXPECT_EQ(
        call(
            "GC",
            R"(,"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"eth1"}])")
            .exit_status,
        0);
    const auto requests = agent_->requests();
    const enrol::Gc& gc = requests.at(0).gc();
    EXPECT_EQ(gc.network(), "cluster");
    ASSERT_EQ(gc.valid_size(), 2);
    EXPECT_EQ(gc.valid(1).container_id(), "b");
    EXPECT_EQ(gc.valid(1).ifname(), "eth1");
    EXPECT_EQ(call("GC", R"(,"cni.dev/valid-attachments":[])").exit_status, 0);
}

TEST_F(Verbs, GcWithoutAListForgetsNothing) {
    start_agent();
    expect_error(call("GC"), 7, "cni.dev/valid-attachments");
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Verbs, GcWithoutAgentSaysTryAgain) {
    expect_error(call("GC", R"(,"cni.dev/valid-attachments":[])"), 11, "start weftd");
}

TEST_F(Verbs, StatusIsFiftyWhenNotReady) {
    expect_error(call("STATUS"), 50, "start weftd");
    start_agent();
    EXPECT_EQ(call("STATUS").exit_status, 0);
    agent_->answer(enrol::Response::UNAVAILABLE, "not synced yet");
    expect_error(call("STATUS"), 50, "not synced yet");
}

TEST_F(Verbs, GcAndStatusCameWithOneDotOne) {
    start_agent();
    expect_error(call("STATUS", "", "1.0.0"), 1, "1.1.0");
    expect_error(call("GC", R"(,"cni.dev/valid-attachments":[])", "0.4.0"), 1, "1.1.0");
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Verbs, VersionAnswersWhateverItIsAskedIn) {
    for (const char* version : {"0.2.0", "1.0.0", "9.9.9"}) {
        const Outcome outcome = call("VERSION", "", version);
        EXPECT_EQ(outcome.exit_status, 0);
        EXPECT_EQ(json(outcome).dump(),
                  R"({"cniVersion":")"s + version + R"(","supportedVersions":["0.4.0","1.0.0","1.1.0"]})");
    }
}

TEST_F(Verbs, ErrorsSpeakTheCallersVersionWhenTheyCan) {
    EXPECT_EQ(json(call("ADD", "", "0.4.0"))["cniVersion"], "0.4.0");
    EXPECT_EQ(json(call("ADD", "", "0.3.1"))["cniVersion"], "1.1.0");
    expect_error(call("ADD", "", "0.3.1"), 1, "0.4.0, 1.0.0, 1.1.0");
    expect_error(call("DEL", "", "0.2.0"), 1, "0.4.0, 1.0.0, 1.1.0");
}

TEST_F(Verbs, BadEnvironmentComesBeforeBadInput) {
    const Outcome outcome = run([](const char*) -> const char* { return nullptr; }, "garbage");
    expect_error(outcome, 4, "CNI_COMMAND");
}

} // namespace
} // namespace weft::cni
