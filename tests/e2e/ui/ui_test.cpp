// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft ui` of a real lab in a real Chromium: two nodes, mutual TLS between them, and somebody whom a policy refuses.
#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"
#include "tests/e2e/ui/results.hpp"
#include "tests/support/chromium/chromium.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kSecure = R"(document.querySelector('#chips [data-id="shop/front>shop/api"]'))";
constexpr const char* kPlain = R"(document.querySelector('#chips [data-id="shop/front>shop/cache"]'))";
constexpr const char* kDenied = R"(document.querySelector('#chips [data-id="shop/intruder>shop/cache"]'))";
constexpr const char* kTitle = "document.querySelector('#details:not([hidden]) h2')?.textContent";
constexpr const char* kDetails = "document.querySelector('#details').textContent";

std::string server(const std::string& name, const std::string& node) {
    return fmt::format(R"(apiVersion: v1
kind: Pod
metadata: {{name: {0}-0, namespace: shop, labels: {{app: {0}}}}}
spec:
  nodeName: {1}
  serviceAccountName: {0}
  containers:
  - name: main
    command: [python3, -m, http.server, "8080", --directory, /tmp]
    readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec: {{selector: {{app: {0}}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {0}, namespace: shop}}
---
)",
                       name, node);
}

/// A pod that asks again and again once /tmp/go is there.
std::string client(const std::string& name, const std::string& line) {
    return fmt::format(R"(apiVersion: v1
kind: Pod
metadata: {{name: {0}-0, namespace: shop, labels: {{app: {0}}}}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [/bin/sh, -c]
    args: ['until [ -e /tmp/go ]; do sleep 0.2; done; while :; do {1}; sleep 0.25; done']
---
)",
                       name, line);
}

std::string manifests() {
    return R"(apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mesh: enabled}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cache-only-from-front, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cache}}
  ingress: [{from: [{podSelector: {matchLabels: {app: front}}}]}]
---
)" + server("api", "node-2") +
           server("cache", "node-1") +
           client("front", "curl -s -m 2 -o /dev/null http://api/; curl -s -m 2 -o /dev/null http://cache/") +
           client("intruder", "curl -s -m 1 -o /dev/null http://cache/");
}

/// Do all pods' agents publish that they are in the mesh?
bool enrolled(const TestLab& lab, std::size_t count) {
    std::size_t found = 0;
    for (const auto& file : std::filesystem::directory_iterator("/run/weft/lab/" + lab.name() + "/manifests")) {
        std::ifstream stream(file.path());
        const std::string text((std::istreambuf_iterator<char>(stream)), {});
        found += text.find("weft.dev/enrolled") != std::string::npos ? 1U : 0U;
    }
    return found == count;
}

/// `weft ui` of a lab's nodes, on a free port.
class RunningUi {
public:
    explicit RunningUi(const TestLab& lab) {
        const auto log = lab.folder() + "/ui.log";
        auto child = lab::launch({.argv = {weft_program(), "ui", "--lab", lab.name(), "--listen", "127.0.0.1:0"},
                                  .log_file = log,
                                  .new_session = true});
        if (!child) {
            ADD_FAILURE() << child.error().message();
            return;
        }
        child_ = std::move(*child);
        EXPECT_TRUE(eventually([&] {
            std::ifstream file(log);
            std::string open;
            return file >> open >> address_ && address_.starts_with("http://") &&
                   address_.find("#key=") != std::string::npos;
        })) << std::ifstream(log).rdbuf();
    }
    ~RunningUi() {
        if (child_.pid > 0) {
            (void)::kill(child_.pid, SIGKILL); // ours, and not reaped yet
            (void)::waitpid(child_.pid, nullptr, 0);
        }
    }
    RunningUi(const RunningUi&) = delete;
    RunningUi& operator=(const RunningUi&) = delete;

    [[nodiscard]] const std::string& address() const { return address_; }
    [[nodiscard]] std::string origin() const { return address_.substr(0, address_.find('#')); }
    /// Asks it to end; its exit code.
    int end() {
        (void)::kill(child_.pid, SIGTERM);
        int status = 0;
        (void)::waitpid(child_.pid, &status, 0);
        child_.pid = -1;
        return lab::shell_exit_code(status);
    }

private:
    lab::Child child_;
    std::string address_;
};

std::string text(test::Chromium& page, const std::string& expression) {
    const auto value = page.value(expression);
    return value.is_string() ? value.get<std::string>() : value.dump();
}

/// Presses a key until the expression holds; false when it never does.
bool press_until(test::Chromium& page, const std::string& key, const std::string& expression, int times) {
    for (int i = 0; i < times; ++i) {
        if (page.value("Boolean(" + expression + ")") == true) {
            return true;
        }
        page.press(key);
    }
    return page.value("Boolean(" + expression + ")") == true;
}

void expect_edges(test::Chromium& page) {
    const auto is = [](const char* chip, const char* name) {
        return fmt::format("{}?.classList.contains('{}')", chip, name);
    };
    // Longer than the minute that is summed: the first connection may come before its node knows that the peer is in.
    ASSERT_TRUE(page.wait_for(is(kSecure, "secure"), 100)) << text(page, "document.body.innerText");
    ASSERT_TRUE(page.wait_for(is(kDenied, "denied"), 60)) << text(page, "document.body.innerText");
    ASSERT_TRUE(page.wait_for(is(kPlain, "plain"), 60));
    EXPECT_EQ(page.value("document.querySelectorAll('.node').length"), 4) << "what nodes do is not in the way";
    EXPECT_EQ(text(page, fmt::format("{}.querySelector('use').getAttribute('href')", kSecure)), "#lock");
    EXPECT_EQ(page.value(fmt::format("{}.querySelector('use')", kPlain)), nullptr) << "one node, so no TLS and no lock";
    EXPECT_EQ(text(page, fmt::format("{}.querySelector('use').getAttribute('href')", kDenied)), "#cross");
    // The red of the page's own palette, on the line itself.
    EXPECT_EQ(text(page, "getComputedStyle(document.querySelector('#lines .line.denied')).stroke"), "rgb(196, 43, 43)");
    EXPECT_THAT(text(page, fmt::format("{}.getAttribute('aria-label')", kDenied)), HasSubstr("refused"));
    EXPECT_TRUE(page.wait_for(fmt::format("/\\d\\/s$/.test({}.textContent)", kSecure))) << "a rate";
    EXPECT_EQ(page.value("document.querySelectorAll('#agents li:not(.away)').length"), 2);
}

void expect_mouse_works(test::Chromium& page) {
    page.click("#own");
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('.node').length > 4")) << "the authority's and the probes'";
    page.click("#own");
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('.node').length === 4"));
    for (const auto* unit : {"bytes", "rtt"}) {
        page.click(fmt::format("input[value={}] + span", unit));
        EXPECT_TRUE(page.wait_for(fmt::format("/[1-9].*(B|iB)\\/s$|[1-9].* (µs|ms)$/.test({}.textContent)", kPlain)))
            << unit;
    }
    page.click("input[value=rate] + span");
    page.click(R"(#chips [data-id="shop/intruder>shop/cache"])");
    ASSERT_TRUE(page.wait_for(std::string(kTitle) + " === 'shop/intruder → shop/cache'"));
    const auto shown = text(page, kDetails);
    EXPECT_THAT(shown, HasSubstr("policy-denied, ingress isolated by shop/cache-only-from-front"));
    EXPECT_THAT(shown, HasSubstr("shop/intruder-0:"));
    EXPECT_EQ(page.value("document.querySelectorAll('#details .flows tr.denied').length > 0"), true);
    page.screenshot(result_file("ui-denied.png"));
    page.press("Escape");
    EXPECT_TRUE(page.wait_for("document.querySelector('#details').hidden"));
}

void expect_keyboard_works(test::Chromium& page) {
    page.value("document.activeElement.blur()");
    ASSERT_TRUE(press_until(page, "Tab", "document.activeElement.classList.contains('node')", 30));
    const auto first = text(page, "document.activeElement.dataset.id");
    page.press("ArrowRight");
    EXPECT_NE(text(page, "document.activeElement.dataset.id"), first);
    ASSERT_TRUE(press_until(page, "Tab", "document.activeElement.classList.contains('chip')", 5));
    page.press("Home");
    ASSERT_TRUE(press_until(page, "ArrowDown", std::string("document.activeElement === ") + kSecure, 5));
    page.press("Enter");
    ASSERT_TRUE(page.wait_for(std::string(kTitle) + " === 'shop/front → shop/api'"));
    EXPECT_EQ(text(page, "document.activeElement.id"), "details-title") << "what was opened is where one reads on";
    const auto shown = text(page, kDetails);
    EXPECT_THAT(shown, HasSubstr("mutual TLS"));
    EXPECT_THAT(shown, HasSubstr("spiffe://cluster.local/ns/shop/sa/api"));
    EXPECT_THAT(shown, HasSubstr("shop/api:80"));
    EXPECT_THAT(shown, HasSubstr("No policy selects an end"));
    EXPECT_EQ(page.value("document.querySelectorAll('#details .flows tbody tr').length > 1"), true);
    page.screenshot(result_file("ui-mutual-tls.png"));
    page.press("Escape");
    ASSERT_TRUE(page.wait_for("document.querySelector('#details').hidden"));
    EXPECT_EQ(page.value(std::string("document.activeElement === ") + kSecure), true) << "back where it came from";

    page.press("/");
    for (const auto* letter : {"c", "a", "c", "h"}) {
        page.press(letter);
    }
    page.press("Enter");
    EXPECT_EQ(text(page, "document.activeElement.dataset.id"), "shop/cache");
    page.press("Enter");
    ASSERT_TRUE(page.wait_for(std::string(kTitle) + " === 'shop/cache'"));
    EXPECT_THAT(text(page, kDetails), HasSubstr("shop/intruder"));
    ASSERT_TRUE(press_until(page, "Tab", "document.activeElement.dataset.go === 'shop/front>shop/cache'", 5));
    page.press("Enter");
    ASSERT_TRUE(page.wait_for(std::string(kTitle) + " === 'shop/front → shop/cache'"));
    EXPECT_THAT(text(page, kDetails), HasSubstr("shop/cache-only-from-front ingress[0]")) << "the rule that allows it";
    page.press("Escape");
    page.value("document.querySelector('#find').value = ''; document.querySelector('#find').dispatchEvent(new "
               "Event('input'))");
}

TEST(Ui, ShowsWhoTalksToWhomInARealBrowser) {
    const TestLab lab;
    lab.write("shop.yaml", manifests());
    lab.up();
    ASSERT_TRUE(eventually([&] { return enrolled(lab, 4); }, 60)) << lab.status().dump(1);
    for (const auto* pod : {"shop/front-0", "shop/intruder-0"}) {
        (void)lab.in_pod(pod, "touch /tmp/go");
    }
    RunningUi ui(lab);
    test::Chromium page(lab.folder() + "/chromium");
    ASSERT_TRUE(page.ok());
    page.open(ui.address());
    expect_edges(page);
    page.screenshot(result_file("ui-map.png"));
    expect_mouse_works(page);
    expect_keyboard_works(page);

    EXPECT_EQ(text(page, "location.hash"), "") << "the key is not left in the address";
    EXPECT_THAT(page.complaints(), IsEmpty()) << "console, exceptions and content security policy";
    EXPECT_FALSE(page.requests().empty());
    for (const auto& request : page.requests()) {
        EXPECT_THAT(request, StartsWith(ui.origin()));
        EXPECT_EQ(request.find("key="), std::string::npos) << "the key is sent in no address: " << request;
    }
    const auto blocked =
        page.value("new Promise((done) => { addEventListener('securitypolicyviolation', () => done(true)); "
                   "const script = document.createElement('script'); "
                   "try { script.textContent = 'document.title = \"run\"'; document.head.append(script); } "
                   "catch { done(true); } setTimeout(() => done(false), 2000); })");
    EXPECT_EQ(blocked, true) << "a script of its own making must not run";
    EXPECT_EQ(text(page, "document.title"), "Weft: services");

    ASSERT_EQ(lab.run({"kill-agent", "node-2"}).exit_code, 0);
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('#agents .away').length === 1"));
    EXPECT_EQ(page.value(fmt::format("{} !== null", kSecure)), true) << "what was seen stays";
    ASSERT_EQ(lab.run({"restart-agent", "node-2"}).exit_code, 0);
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('#agents .away').length === 0", 60)) << "and it comes back";

    page.value("sessionStorage.clear()");
    page.open(ui.origin());
    EXPECT_TRUE(page.wait_for("document.querySelector('#empty').textContent.includes('no valid key')"));
    EXPECT_EQ(page.value("document.querySelectorAll('.node').length"), 0);
    page.open(ui.address()); // in the same tab, so only what is behind '#' changes
    EXPECT_TRUE(page.wait_for("document.querySelectorAll('.node').length === 4"));
    EXPECT_EQ(ui.end(), 0);
    EXPECT_TRUE(page.wait_for("document.querySelector('#summary').textContent.includes('does not answer')"));
    EXPECT_EQ(page.value("document.querySelectorAll('.node').length"), 4) << "what was seen stays";
}

TEST(Ui, SaysWhatIsWrongWithItsArguments) {
    const auto nobody = weft({"ui", "--socket", "/nowhere/admin.sock"});
    EXPECT_EQ(nobody.exit_code, 3);
    EXPECT_THAT(nobody.error_output, HasSubstr("/nowhere/admin.sock does not exist"));
    EXPECT_EQ(weft({"ui", "--lab", "nosuchlab"}).exit_code, 5);
    const auto open = weft({"ui", "--socket", "/nowhere/a", "--socket", "/nowhere/b", "--listen", "0.0.0.0:0"});
    EXPECT_EQ(open.exit_code, 2);
    EXPECT_THAT(open.error_output, HasSubstr("--allow-host"));
}

} // namespace
} // namespace weft::e2e
