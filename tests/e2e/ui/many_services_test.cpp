// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// 500 services in a real Chromium, over the same JSON that agents' flows become: what is drawn, what an update touches,
// and that the layout is the same for the same graph.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <optional>

#include "tests/e2e/driver.hpp"
#include "tests/e2e/ui/results.hpp"
#include "tests/support/chromium/chromium.hpp"
#include "tests/unit/ui/flows.hpp"
#include "tools/weft/ui/service_graph.hpp"
#include "tools/weft/ui/web_server.hpp"

namespace weft::e2e {
namespace {

using namespace ui_test;

constexpr int kServices = 500, kNamespaces = 25;

constexpr int kTeam = kServices / kNamespaces;

std::string service(int number) {
    return fmt::format("team-{:02}/svc-{:03}", number % kServices / kTeam, number % kServices);
}

/// Three connections from each service: two inside its team, as in a tree, and one to another team; every second is by
/// mutual TLS, one in 50 between teams is refused.
void fill(ui::ServiceGraph& graph) {
    for (int i = 0; i < kServices; ++i) {
        const int first = i - i % kTeam, place = i % kTeam;
        std::array<int, 3> targets{first + (2 * place + 1) % kTeam, first + (2 * place + 2) % kTeam,
                                   i + kTeam * (1 + place % 3)};
        for (auto& target : targets) {
            target = target == i ? first + (place + 5) % kTeam : target;
            const bool denied = &target == &targets.back() && i % 50 == 0;
            auto flow = flow_between(service(i), service(target), denied ? Detail::DENIED : Detail::CONNECT);
            if (i % 2 == 0 && !denied) {
                flow.mutable_weft()->set_connection_security_policy("mutual_tls");
            }
            for (int again = 0; again <= i % 7; ++again) {
                graph.add(0, flow, kNow);
            }
        }
    }
}

double metric(test::Chromium& page, const std::string& name) {
    const auto answer = page.call("Performance.getMetrics");
    for (const auto& one : answer["metrics"]) {
        if (one["name"] == name) {
            return one["value"];
        }
    }
    return -1;
}

class ManyServices : public testing::Test {
protected:
    void SetUp() override {
        fill(graph);
        auto started = ui::WebServer::start({.listen = "127.0.0.1:0", .hosts = {}, .key = "k"},
                                            {.graph =
                                                 [this] {
                                                     auto all = graph.graph(kNow);
                                                     all["agents"] = nlohmann::json::array();
                                                     ++asked;
                                                     return all.dump();
                                                 },
                                             .edge = [this](const std::string& id) -> std::optional<std::string> {
                                                 const auto found = graph.edge(id, kNow);
                                                 return found ? std::optional(found->dump()) : std::nullopt;
                                             }});
        ASSERT_TRUE(started.has_value()) << started.error().message();
        server.emplace(std::move(*started));
        browser.emplace(folder.folder() + "/chromium");
        ASSERT_TRUE(browser->ok());
        browser->open(fmt::format("http://127.0.0.1:{}/#key=k", server->port()));
        ASSERT_TRUE(browser->wait_for("document.querySelectorAll('.node').length > 0", 60));
    }

    ui::ServiceGraph graph;
    std::atomic<int> asked = 0;
    std::optional<ui::WebServer> server;
    TestLab folder; // of which only the folder is used
    std::optional<test::Chromium> browser;
};

TEST_F(ManyServices, AreDrawnWithinABudgetOfElements) {
    auto& page = *browser;
    EXPECT_EQ(page.value("document.querySelectorAll('.node.workload').length"), kServices);
    EXPECT_EQ(page.value("document.querySelectorAll('#lines .line').length"), 3 * kServices);
    EXPECT_EQ(page.value("document.querySelectorAll('#bands .band').length"), kNamespaces);
    EXPECT_EQ(page.value("document.querySelectorAll('#lines .line.denied').length"), kServices / 50);
    EXPECT_EQ(page.value("document.querySelectorAll('#chips use[href=\"#cross\"]').length"), kServices / 50)
        << "refusals keep their labels";
    // Four for a service, three for a connection, two for a band, and the rest of the page.
    const auto elements = page.value("document.querySelectorAll('*').length").get<int>();
    EXPECT_LE(elements, 4 * kServices + 3 * 3 * kServices + 2 * kNamespaces + 250);
    // Read by people, not compared: the machine may be busy.
    RecordProperty("elements", elements);
    RecordProperty("script_ms", static_cast<int>(1000 * metric(page, "ScriptDuration")));
    RecordProperty("layout_ms", static_cast<int>(1000 * metric(page, "LayoutDuration")));
    page.screenshot(result_file("ui-500.png"));
    page.call("Emulation.setEmulatedMedia", {{"features", {{{"name", "prefers-color-scheme"}, {"value", "dark"}}}}});
    page.screenshot(result_file("ui-500-dark.png"));
    EXPECT_EQ(page.value("getComputedStyle(document.body).backgroundColor"), "rgb(15, 19, 24)");
    EXPECT_TRUE(page.complaints().empty()) << page.complaints().front();
}

TEST_F(ManyServices, AnUpdateWithoutNewsTouchesNothing) {
    auto& page = *browser;
    page.value("globalThis.touched = 0; new MutationObserver((list) => { touched += list.length; })"
               ".observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true}); 0");
    const int before = asked;
    ASSERT_TRUE(eventually([&] { return asked >= before + 3; }, 60));
    EXPECT_EQ(page.value("touched"), 0);
    // One more flow: its own line, label and service change, and nothing else of 2,000.
    graph.add(0, flow_between(service(0), service(1)), kNow);
    ASSERT_TRUE(page.wait_for("touched > 0", 30));
    EXPECT_LE(page.value("touched").get<int>(), 12);
}

TEST_F(ManyServices, AreFoundAndFilteredByKeyboard) {
    auto& page = *browser;
    page.press("/");
    for (const auto* letter : {"s", "v", "c", "-", "4", "2", "0"}) {
        page.press(letter);
    }
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('.node.found').length === 1"));
    page.press("Enter");
    EXPECT_EQ(page.value("document.activeElement.dataset.id"), "team-21/svc-420");
    const auto inside =
        page.value("(() => { const box = document.activeElement.getBoundingClientRect(); "
                   "return box.x >= 0 && box.right <= innerWidth && box.y >= 0 && box.bottom <= innerHeight; })()");
    EXPECT_EQ(inside, true);
    page.click("input[value=denied] + span");
    EXPECT_TRUE(page.wait_for(fmt::format("document.querySelectorAll('#lines .line').length === {}", kServices / 50)));
    page.click("input[value=all] + span");
    page.value("const select = document.querySelector('#namespace'); select.value = 'team-03'; "
               "select.dispatchEvent(new Event('input'))");
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('#lines .line').length < 100"));
}

/// The layout is a pure function: run as the page has it.
TEST_F(ManyServices, StandWhereTheyStoodWhateverComesAndGoes) {
    auto& page = *browser;
    const auto answer = page.value(R"((async () => {
      const { layout, NODE } = await import("/layout.js");
      const node = (id) => ({ id, kind: "workload", namespace: id.split("/")[0], name: id.split("/")[1] });
      const nodes = [], edges = [];
      for (let i = 0; i < 300; i += 1) nodes.push(node(`ns${i % 4}/s${String(i).padStart(3, "0")}`));
      for (let i = 0; i < 300; i += 1) for (const step of [5, 31, 250]) {
        const to = nodes[(i + step) % 300].id;
        edges.push({ id: `${nodes[i].id}>${to}`, from: nodes[i].id, to });
      }
      const shape = (all) => JSON.stringify([...all.positions].sort());
      const once = layout(nodes, edges);
      const shuffled = layout([...nodes].reverse(), [...edges].sort((a, b) => (a.to < b.to ? -1 : 1)));
      const places = [...once.positions.values()];
      let overlaps = 0;
      places.forEach((a, i) => places.slice(i + 1).forEach((b) => {
        if (Math.abs(a.x - b.x) < NODE.width && Math.abs(a.y - b.y) < NODE.height) overlaps += 1;
      }));
      const chain = ["a/a", "a/b", "a/c"].map(node);
      const two = [{ id: "1", from: "a/a", to: "a/b" }, { id: "2", from: "a/b", to: "a/c" }];
      const before = layout(chain, two).positions;
      const after = layout([...chain, node("a/z")], [...two, { id: "3", from: "a/b", to: "a/z" }]).positions;
      const circle = layout(chain, [...two, { id: "3", from: "a/c", to: "a/a" }]).positions;
      return {
        same: shape(once) === shape(shuffled), all: places.length, overlaps,
        inside: places.every((place) => place.x >= 0 && place.y >= 0 && place.x + NODE.width <= once.width && place.y + NODE.height <= once.height),
        left: before.get("a/a").x < before.get("a/b").x && before.get("a/b").x < before.get("a/c").x,
        stay: ["a/a", "a/b", "a/c"].every((id) => before.get(id).x === after.get(id).x),
        circle: circle.get("a/a").x < circle.get("a/b").x,
      };
    })())");
    EXPECT_EQ(answer, (nlohmann::json{{"same", true},
                                      {"all", 300},
                                      {"overlaps", 0},
                                      {"inside", true},
                                      {"left", true},
                                      {"stay", true},
                                      {"circle", true}}));
}

} // namespace
} // namespace weft::e2e
