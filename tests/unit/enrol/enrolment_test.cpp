// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Enrolment against a control loop in the test's hand: order of steps, waiting, undoing, replacing.
#include "agent/enrol/enrolment.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/enrol/socket_client.hpp"

using namespace std::chrono_literals;

namespace weft::enrol {
namespace {

class EnrolmentTest : public ::testing::Test {
protected:
    /// The answer of one request, empty while there is none.
    using Answer = std::shared_ptr<std::optional<Response>>;

    EnrolmentTest() { restart(); }

    /// A new agent over the same folder.
    EndpointRegistry::LoadReport restart() {
        enrolment_.reset();
        published_.clear();
        registry_.emplace(
            EndpointRegistry::open(folder_.path("endpoints"), [this](const std::string& path) -> Result<std::uint64_t> {
                const auto at = namespaces_.find(path);
                return at == namespaces_.end() ? Result<std::uint64_t>(failure(ENOENT, "{}: gone", path)) : at->second;
            }).value());
        ControlHooks hooks;
        hooks.publish = [this](const store::LocalEndpoint& endpoint) {
            log_.push_back("publish " + endpoint.container_id);
            published_.insert_or_assign(endpoint.container_id, endpoint);
        };
        hooks.withdraw = [this](const std::string& id) {
            log_.push_back("withdraw " + id);
            published_.erase(id);
        };
        hooks.pod_known = [this](const std::string& ns, const std::string& name) {
            return pods_.contains(ns + "/" + name);
        };
        hooks.when_applied = [this](const store::LocalEndpoint& endpoint, std::function<void(Result<>)> done) {
            if (apply_at_once_) {
                done({});
            } else {
                applying_.insert_or_assign(endpoint.container_id, std::move(done));
            }
        };
        hooks.ready = [this] { return ready_; };
        hooks.now = [this] { return now_; };
        enrolment_.emplace(*registry_, hooks, EnrolmentOptions{.host_cookie = 7});
        return enrolment_->restore();
    }

    Answer ask(const Request& request) {
        auto answer = std::make_shared<std::optional<Response>>();
        enrolment_->handle(request, [answer](const Response& response) {
            ASSERT_FALSE(answer->has_value()) << "answered twice";
            *answer = response;
        });
        return answer;
    }
    static Request add_request(const std::string& id, const std::string& pod, const std::string& ip) {
        Request request;
        Add& add = *request.mutable_add();
        add.set_container_id(id);
        add.set_netns("/run/netns/" + id);
        add.set_ifname("eth0");
        add.set_pod_namespace("shop");
        add.set_pod_name(pod);
        add.add_ips(ip);
        add.set_network("cluster");
        return request;
    }
    static Request del_request(const std::string& id, const std::string& ifname = "eth0") {
        Request request;
        request.mutable_del()->set_container_id(id);
        request.mutable_del()->set_ifname(ifname);
        return request;
    }
    static Request check_request(const std::string& id, const std::string& ip) {
        Request request;
        request.mutable_check()->set_container_id(id);
        request.mutable_check()->set_ifname("eth0");
        request.mutable_check()->add_ips(ip);
        return request;
    }
    static Response::Code code(const Answer& answer) {
        return answer->has_value() ? (*answer)->code() : Response::Code(-1);
    }
    static std::string message(const Answer& answer) {
        return answer->has_value() ? (*answer)->message() : "no answer";
    }
    void apply(const std::string& id, const Result<>& outcome = {}) {
        const auto done = std::move(applying_.at(id));
        applying_.erase(id);
        done(outcome);
    }
    Answer enrolled(const std::string& id, const std::string& pod, const std::string& ip) {
        const Answer answer = ask(add_request(id, pod, ip));
        if (applying_.contains(id)) {
            apply(id);
        }
        EXPECT_EQ(code(answer), Response::OK) << message(answer);
        return answer;
    }

    test::Folder folder_;
    std::map<std::string, std::uint64_t> namespaces_ = {
        {"/run/netns/a", 1001}, {"/run/netns/b", 1002}, {"/run/netns/host", 7}};
    std::set<std::string> pods_ = {"shop/web", "shop/api"};
    Result<> ready_;
    bool apply_at_once_ = false;
    std::chrono::steady_clock::time_point now_{1h};
    std::map<std::string, store::LocalEndpoint> published_;
    std::map<std::string, std::function<void(Result<>)>> applying_;
    std::vector<std::string> log_;
    std::optional<EndpointRegistry> registry_;
    std::optional<Enrolment> enrolment_;
};

TEST_F(EnrolmentTest, AnswersOnlyWhenTheMapsAreInPlace) {
    const Answer answer = ask(add_request("a", "web", "10.0.0.1"));
    EXPECT_FALSE(answer->has_value());
    ASSERT_TRUE(published_.contains("a"));
    EXPECT_EQ(published_["a"].netns_cookie, 1001U);
    EXPECT_EQ(published_["a"].ips, std::vector{Ip::parse("10.0.0.1").value()});
    apply("a");
    EXPECT_EQ(code(answer), Response::OK);
    EXPECT_EQ(enrolment_->pending(), 0U);
}

TEST_F(EnrolmentTest, AppliedAtOnceIsFine) {
    apply_at_once_ = true;
    EXPECT_EQ(code(ask(add_request("a", "web", "10.0.0.1"))), Response::OK);
}

TEST_F(EnrolmentTest, WaitsForThePodObject) {
    const Answer answer = ask(add_request("a", "late", "10.0.0.1"));
    EXPECT_TRUE(published_.empty());
    now_ += 4s;
    enrolment_->tick();
    EXPECT_FALSE(answer->has_value());
    pods_.insert("shop/late");
    enrolment_->pods_changed();
    ASSERT_TRUE(published_.contains("a"));
    now_ += 2s; // the wait for the maps has a limit of its own
    enrolment_->tick();
    EXPECT_FALSE(answer->has_value());
    apply("a");
    EXPECT_EQ(code(answer), Response::OK);
}

TEST_F(EnrolmentTest, GivesUpOnAPodThatNeverComes) {
    const Answer answer = ask(add_request("a", "never", "10.0.0.1"));
    EXPECT_LE(enrolment_->next_tick(), now_ + 5s);
    now_ += 5s;
    enrolment_->tick();
    EXPECT_EQ(code(answer), Response::UNAVAILABLE);
    EXPECT_NE(message(answer).find("shop/never"), std::string::npos) << message(answer);
    pods_.insert("shop/never");
    enrolment_->pods_changed();
    EXPECT_TRUE(log_.empty());
    EXPECT_TRUE(registry_->records().empty());
}

TEST_F(EnrolmentTest, UndoesEverythingWhenTheMapsFail) {
    const Answer answer = ask(add_request("a", "web", "10.0.0.1"));
    apply("a", failure(ENOSPC, "map weft_endpoint is full"));
    EXPECT_EQ(code(answer), Response::INTERNAL);
    EXPECT_EQ(message(answer), "map weft_endpoint is full");
    EXPECT_TRUE(published_.empty());
    EXPECT_TRUE(registry_->records().empty());
}

TEST_F(EnrolmentTest, UndoesEverythingWhenTheMapsTakeTooLong) {
    const Answer answer = ask(add_request("a", "web", "10.0.0.1"));
    now_ += 3s;
    enrolment_->tick();
    EXPECT_EQ(code(answer), Response::UNAVAILABLE);
    EXPECT_TRUE(published_.empty());
    apply("a"); // too late: no second answer, nothing comes back
    EXPECT_TRUE(published_.empty());
    EXPECT_TRUE(registry_->records().empty());
}

TEST_F(EnrolmentTest, LateMapsOfAnEarlierAddDoNotAnswerALaterOne) {
    const Answer first = ask(add_request("a", "web", "10.0.0.1"));
    const auto earlier = applying_.at("a");
    const Answer second = ask(add_request("a", "web", "10.0.0.2"));
    EXPECT_EQ(code(first), Response::UNAVAILABLE);
    earlier({});
    EXPECT_FALSE(second->has_value());
    apply("a");
    EXPECT_EQ(code(second), Response::OK);
    EXPECT_EQ(published_["a"].ips, std::vector{Ip::parse("10.0.0.2").value()});
}

TEST_F(EnrolmentTest, MapsAfterTheEndAreHarmless) {
    ask(add_request("a", "web", "10.0.0.1"));
    const auto late = applying_.at("a");
    enrolment_.reset();
    late({});
}

TEST_F(EnrolmentTest, NewSandboxReplacesTheOldOne) {
    enrolled("a", "web", "10.0.0.1");
    log_.clear();
    enrolled("b", "web", "10.0.0.1"); // also when it keeps its address
    EXPECT_EQ(log_, (std::vector<std::string>{"withdraw a", "publish b"}));
    EXPECT_EQ(registry_->find("a"), nullptr);
    EXPECT_EQ(code(ask(del_request("a"))), Response::OK) << "the old sandbox's DEL comes later";
    EXPECT_TRUE(published_.contains("b"));
}

TEST_F(EnrolmentTest, FailedReplacementBringsTheOldOneBack) {
    enrolled("a", "web", "10.0.0.1");
    const Answer answer = ask(add_request("b", "web", "10.0.0.2"));
    apply("b", failure(EIO, "broken"));
    EXPECT_EQ(code(answer), Response::INTERNAL);
    EXPECT_TRUE(published_.contains("a"));
    EXPECT_FALSE(published_.contains("b"));
    restart();
    EXPECT_TRUE(published_.contains("a")) << "it is on record again too";
    EXPECT_FALSE(published_.contains("b"));
}

TEST_F(EnrolmentTest, FailedReplacementDoesNotBringADeadOneBack) {
    enrolled("a", "web", "10.0.0.1");
    ask(add_request("b", "web", "10.0.0.2"));
    namespaces_.erase("/run/netns/a");
    apply("b", failure(EIO, "broken"));
    EXPECT_TRUE(published_.empty());
}

TEST_F(EnrolmentTest, RepeatedAddIsFine) {
    enrolled("a", "web", "10.0.0.1");
    enrolled("a", "web", "10.0.0.1");
    EXPECT_EQ(published_.size(), 1U);
}

TEST_F(EnrolmentTest, AddressOfALivingPodIsRefused) {
    enrolled("a", "web", "10.0.0.1");
    const Answer answer = ask(add_request("b", "api", "10.0.0.1"));
    EXPECT_EQ(code(answer), Response::INVALID);
    EXPECT_NE(message(answer).find("ips: 10.0.0.1 belongs to pod shop/web"), std::string::npos) << message(answer);
    EXPECT_TRUE(published_.contains("a"));
    EXPECT_FALSE(published_.contains("b"));
}

TEST_F(EnrolmentTest, AddressOfADeadPodIsTakenOver) {
    enrolled("a", "web", "10.0.0.1");
    namespaces_.erase("/run/netns/a");
    enrolled("b", "api", "10.0.0.1");
    EXPECT_FALSE(published_.contains("a"));
    EXPECT_EQ(registry_->find("a"), nullptr);
}

TEST_F(EnrolmentTest, NamespaceOfAnotherPodIsRefused) {
    enrolled("a", "web", "10.0.0.1");
    Request request = add_request("b", "api", "10.0.0.2");
    request.mutable_add()->set_netns("/run/netns/a");
    EXPECT_EQ(code(ask(request)), Response::INVALID);
}

TEST_F(EnrolmentTest, SecondInterfaceIsRefused) {
    enrolled("a", "web", "10.0.0.1");
    Request request = add_request("a", "web", "10.9.0.1");
    request.mutable_add()->set_ifname("net1");
    const Answer answer = ask(request);
    EXPECT_EQ(code(answer), Response::INVALID);
    EXPECT_EQ(message(answer).substr(0, 7), "ifname:");
    EXPECT_EQ(code(ask(del_request("a", "net1"))), Response::OK);
    EXPECT_TRUE(published_.contains("a")) << "a DEL of the other interface takes nothing away";
}

TEST_F(EnrolmentTest, EveryBadFieldIsNamed) {
    const std::vector<std::pair<std::string, std::function<void(Add&)>>> cases = {
        {"container_id", [](Add& add) { add.set_container_id("../a"); }},
        {"ifname", [](Add& add) { add.clear_ifname(); }},
        {"pod_namespace", [](Add& add) { add.clear_pod_namespace(); }},
        {"pod_name", [](Add& add) { add.clear_pod_name(); }},
        {"ips", [](Add& add) { add.clear_ips(); }},
        {"ips", [](Add& add) { add.add_ips("10.0.0.0/24"); }},
        {"ips", [](Add& add) { add.add_ips("127.0.0.1"); }},
        {"ips", [](Add& add) { add.add_ips("::"); }},
        {"netns", [](Add& add) { add.set_netns("run/netns/a"); }},
        {"netns", [](Add& add) { add.set_netns("/run/netns/none"); }},
        {"netns", [](Add& add) { add.set_netns("/run/netns/host"); }},
    };
    for (const auto& [field, spoil] : cases) {
        Request request = add_request("a", "web", "10.0.0.1");
        spoil(*request.mutable_add());
        const Answer answer = ask(request);
        EXPECT_EQ(code(answer), Response::INVALID) << field;
        EXPECT_EQ(message(answer).substr(0, field.size() + 1), field + ":") << message(answer);
    }
    EXPECT_TRUE(log_.empty());
    EXPECT_EQ(code(ask(Request())), Response::UNSUPPORTED);
}

TEST_F(EnrolmentTest, NotReadyMeansTryAgain) {
    ready_ = failure(EAGAIN, "the first snapshot is not applied yet");
    Request status;
    status.mutable_status();
    EXPECT_EQ(code(ask(status)), Response::UNAVAILABLE);
    EXPECT_EQ(code(ask(add_request("a", "web", "10.0.0.1"))), Response::UNAVAILABLE);
    EXPECT_TRUE(log_.empty());
    ready_ = {};
    EXPECT_EQ(code(ask(status)), Response::OK);
}

TEST_F(EnrolmentTest, DelEndsAnUnfinishedAdd) {
    for (const char* pod : {"web", "never"}) {
        const Answer answer = ask(add_request("a", pod, "10.0.0.1"));
        EXPECT_EQ(code(ask(del_request("a"))), Response::OK);
        EXPECT_EQ(code(answer), Response::UNAVAILABLE);
        EXPECT_TRUE(published_.empty());
        EXPECT_TRUE(registry_->records().empty());
    }
}

TEST_F(EnrolmentTest, DelOfAnUnknownPodSucceeds) {
    EXPECT_EQ(code(ask(del_request("a"))), Response::OK);
    EXPECT_EQ(code(ask(del_request("a"))), Response::OK);
}

TEST_F(EnrolmentTest, CheckComparesAddresses) {
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.1"))), Response::NOT_FOUND);
    const Answer unfinished = ask(add_request("a", "web", "10.0.0.1"));
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.1"))), Response::UNAVAILABLE);
    apply("a");
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.1"))), Response::OK);
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.2"))), Response::INVALID);
    Request more = check_request("a", "10.0.0.1");
    more.mutable_check()->add_ips("fd00::1");
    EXPECT_EQ(code(ask(more)), Response::INVALID);
    namespaces_["/run/netns/a"] = 9;
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.1"))), Response::NOT_FOUND);
}

TEST_F(EnrolmentTest, GcKeepsTheListedAndOtherNetworks) {
    enrolled("a", "web", "10.0.0.1");
    enrolled("b", "api", "10.0.0.2");
    Request gc;
    gc.mutable_gc()->set_network("other");
    EXPECT_EQ(code(ask(gc)), Response::OK);
    EXPECT_EQ(published_.size(), 2U);
    gc.mutable_gc()->set_network("cluster");
    auto& valid = *gc.mutable_gc()->add_valid();
    valid.set_container_id("b");
    valid.set_ifname("eth0");
    EXPECT_EQ(code(ask(gc)), Response::OK);
    EXPECT_FALSE(published_.contains("a"));
    EXPECT_TRUE(published_.contains("b"));
    valid.set_ifname("net1");
    EXPECT_EQ(code(ask(gc)), Response::OK);
    EXPECT_TRUE(published_.empty());
}

TEST_F(EnrolmentTest, RestartKnowsThePodsThatLive) {
    enrolled("a", "web", "10.0.0.1");
    enrolled("b", "api", "10.0.0.2");
    ask(add_request("a", "web", "10.0.0.1")); // the agent dies in the middle of a repeated ADD
    namespaces_.erase("/run/netns/b");
    const auto report = restart();
    EXPECT_EQ(report.dropped.size(), 1U);
    EXPECT_EQ(published_.size(), 1U);
    EXPECT_EQ(code(ask(check_request("a", "10.0.0.1"))), Response::OK);
}

TEST_F(EnrolmentTest, SweepFindsAMissedDel) {
    enrolled("a", "web", "10.0.0.1");
    enrolled("b", "api", "10.0.0.2");
    namespaces_.erase("/run/netns/a");
    EXPECT_TRUE(enrolment_->tick().empty()) << "not yet time";
    now_ += 10s;
    const auto swept = enrolment_->tick();
    ASSERT_EQ(swept.size(), 1U);
    EXPECT_EQ(swept[0].endpoint.pod_name, "web");
    EXPECT_FALSE(published_.contains("a"));
    EXPECT_TRUE(published_.contains("b"));
    EXPECT_TRUE(enrolment_->tick().empty());
}

} // namespace
} // namespace weft::enrol
