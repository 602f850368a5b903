// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Endpoint records across restarts: kept, dropped with their namespace, and skipped when damaged.
#include "agent/enrol/registry.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "agent/enrol/record_file.hpp"
#include "tests/unit/enrol/socket_client.hpp"

namespace weft::enrol {
namespace {

EndpointRecord record(const std::string& id, std::uint64_t cookie, const std::string& ip) {
    EndpointRecord out;
    out.endpoint.namespace_name = "shop";
    out.endpoint.pod_name = "web-" + id;
    out.endpoint.pod_uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    out.endpoint.container_id = id;
    out.endpoint.netns_path = "/run/netns/" + id;
    out.endpoint.netns_cookie = cookie;
    out.endpoint.ips = {Ip::parse(ip).value(), Ip::parse("fd00::" + std::to_string(cookie)).value()};
    out.ifname = "eth0";
    out.network = "cluster";
    return out;
}

class Registry : public ::testing::Test {
protected:
    EndpointRegistry open() {
        auto registry =
            EndpointRegistry::open(folder_.path("endpoints"), [this](const std::string& path) -> Result<std::uint64_t> {
                const auto at = namespaces_.find(path);
                if (at == namespaces_.end()) {
                    return failure(ENOENT, "{}: no such namespace", path);
                }
                return at->second;
            });
        EXPECT_TRUE(registry.has_value());
        return *std::move(registry);
    }
    [[nodiscard]] std::string file(const std::string& id) const { return folder_.path("endpoints/" + id + ".json"); }
    static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

    test::Folder folder_;
    std::map<std::string, std::uint64_t> namespaces_ = {{"/run/netns/a", 1001}, {"/run/netns/b", 1002}};
};

TEST_F(Registry, KnowsItsPodsAfterARestart) {
    {
        auto registry = open();
        ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
        ASSERT_TRUE(registry.put(record("b", 1002, "10.0.0.2")));
    }
    auto registry = open();
    const auto report = registry.load();
    EXPECT_TRUE(report.errors.empty());
    EXPECT_TRUE(report.dropped.empty());
    ASSERT_EQ(registry.records().size(), 2U);
    EXPECT_EQ(*registry.find("a"), record("a", 1001, "10.0.0.1"));
    EXPECT_EQ(registry.find_pod("shop", "web-b")->endpoint.container_id, "b");
    EXPECT_EQ(registry.find_ip(Ip::parse("fd00::1002").value())->endpoint.container_id, "b");
    EXPECT_EQ(registry.find_ip(Ip::parse("10.0.0.9").value()), nullptr);
}

TEST_F(Registry, FilesAreForRootOnly) {
    auto registry = open();
    ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
    struct stat status{};
    ASSERT_EQ(::stat(file("a").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    ASSERT_EQ(::stat(folder_.path("endpoints").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0700U);
}

TEST_F(Registry, DropsAPodWhoseNamespaceIsGoneOrAnotherOne) {
    {
        auto registry = open();
        ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
        ASSERT_TRUE(registry.put(record("b", 1002, "10.0.0.2")));
    }
    namespaces_.erase("/run/netns/a");
    namespaces_["/run/netns/b"] = 2002; // the path was used again
    auto registry = open();
    const auto report = registry.load();
    EXPECT_EQ(report.dropped.size(), 2U);
    EXPECT_TRUE(report.errors.empty());
    EXPECT_TRUE(registry.records().empty());
    EXPECT_FALSE(std::filesystem::exists(file("a")));
    EXPECT_FALSE(std::filesystem::exists(file("b")));
}

TEST_F(Registry, DamagedFilesAreReportedAndTheOthersLoad) {
    {
        auto registry = open();
        ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
    }
    const std::string good = format_record(record("b", 1002, "10.0.0.2"));
    write(file("truncated"), good.substr(0, good.size() / 2));
    write(file("empty"), "");
    write(file("other-name"), good);
    write(file("huge"), std::string(100000, ' ') + good);
    write(file("array"), "[]");
    write(folder_.path("endpoints/b.json.new"), good.substr(0, 10));
    std::filesystem::create_directory(file("folder"));
    std::filesystem::create_symlink(file("a"), file("link"));
    auto registry = open();
    const auto report = registry.load();
    EXPECT_EQ(registry.records().size(), 1U);
    EXPECT_NE(registry.find("a"), nullptr);
    ASSERT_EQ(report.errors.size(), 7U);
    for (const Error& error : report.errors) {
        EXPECT_NE(error.message().find(folder_.path("endpoints")), std::string::npos)
            << error.message() << " names no file";
    }
    EXPECT_TRUE(std::filesystem::exists(file("truncated"))) << "kept for whoever looks into it";
}

TEST_F(Registry, EveryFieldOfAFileIsChecked) {
    const std::string good = format_record(record("a", 1001, "10.0.0.1"));
    ASSERT_TRUE(parse_record(good).has_value());
    const std::vector<std::pair<std::string, std::string>> changes = {
        {"\"format\": 1", "\"format\": 2"},
        {"\"namespace\": \"shop\"", "\"namespace\": 1"},
        {"\"pod\"", "\"pot\""},
        {"\"container_id\": \"a\"", "\"container_id\": \"../a\""},
        {"\"netns_cookie\": 1001", "\"netns_cookie\": -1"},
        {"\"netns_cookie\": 1001", "\"netns_cookie\": 1.5"},
        {"\"10.0.0.1\"", "\"10.0.0\""},
        {"\"10.0.0.1\"", "10"},
        {"\"ips\"", "\"ip\""},
    };
    for (const auto& [from, to] : changes) {
        std::string text = good;
        const auto at = text.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        text.replace(at, from.size(), to);
        EXPECT_FALSE(parse_record(text).has_value()) << to;
    }
}

TEST_F(Registry, ContainerIdsCannotLeaveTheFolder) {
    auto registry = open();
    for (const char* id : {"", "../x", "a/b", ".hidden", "-x", "a b", "a\nb", "\xc3\xa4"}) {
        auto bad = record("a", 1001, "10.0.0.1");
        bad.endpoint.container_id = id;
        EXPECT_FALSE(registry.put(bad).has_value()) << id;
    }
    EXPECT_FALSE(check_container_id(std::string(201, 'a')).has_value());
    EXPECT_TRUE(check_container_id(std::string(200, 'a')).has_value());
    EXPECT_TRUE(check_container_id("Cnitool-77383ca0a0715733ca6f").has_value());
}

TEST_F(Registry, ForgetsForGood) {
    auto registry = open();
    ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
    EXPECT_TRUE(registry.erase("a").has_value());
    EXPECT_TRUE(registry.erase("a").has_value()) << "fine when there is none";
    EXPECT_FALSE(std::filesystem::exists(file("a")));
}

TEST_F(Registry, SweepNamesTheVanished) {
    auto registry = open();
    ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
    ASSERT_TRUE(registry.put(record("b", 1002, "10.0.0.2")));
    EXPECT_TRUE(registry.sweep().empty());
    namespaces_.erase("/run/netns/b");
    EXPECT_EQ(registry.sweep(), std::vector<std::string>{"b"});
}

TEST_F(Registry, FailedWriteLeavesTheOldRecord) {
    auto registry = open();
    ASSERT_TRUE(registry.put(record("a", 1001, "10.0.0.1")));
    std::filesystem::create_directory(file("a") + ".new"); // the side file cannot be made
    EXPECT_FALSE(registry.put(record("a", 1001, "10.0.0.7")).has_value());
    EXPECT_EQ(*registry.find("a"), record("a", 1001, "10.0.0.1"));
    EXPECT_EQ(read_record(file("a")).value(), record("a", 1001, "10.0.0.1"));
}

} // namespace
} // namespace weft::enrol
