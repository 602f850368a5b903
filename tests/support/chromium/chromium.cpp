// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/support/chromium/chromium.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weft::test {
namespace {

using nlohmann::json;

constexpr const char* kProgram = "/usr/bin/chromium";
constexpr int kAnswerMs = 60000; // of a browser on a busy machine

/// Chromium reads commands from descriptor 3 and answers on 4.
pid_t start(const std::vector<std::string>& arguments, int commands, int answers, int log) {
    std::vector<char*> argv;
    for (const auto& argument : arguments) {
        argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) {
        return child;
    }
    // Only calls that are safe after a fork of a process with threads. Copies first: 3 and 4 may be among the pipes.
    const int in = ::fcntl(commands, F_DUPFD, 10), out = ::fcntl(answers, F_DUPFD, 10);
    const int said = ::fcntl(log, F_DUPFD, 10);
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(said, 1);
    ::dup2(said, 2);
    ::dup2(in, 3);
    ::dup2(out, 4);
    ::close(in);
    ::close(out);
    ::close(said);
    ::execv(kProgram, argv.data());
    ::_exit(127);
}

std::string text_of(const json& arguments) {
    std::string text;
    for (const auto& argument : arguments) {
        text += (text.empty() ? "" : " ") +
                (argument.contains("value") ? argument["value"].dump() : argument.value("description", "?"));
    }
    return text;
}

std::string decoded(const std::string& base64) {
    std::string out;
    unsigned bits = 0;
    int count = 0;
    for (const char c : base64) {
        static constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const auto digit = kLetters.find(c);
        if (digit == std::string_view::npos) {
            break; // the padding
        }
        bits = (bits << 6U) | static_cast<unsigned>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xffU);
        }
    }
    return out;
}

} // namespace

Chromium::Chromium(std::string folder) : folder_(std::move(folder)) {
    if (::access(kProgram, X_OK) != 0) {
        ADD_FAILURE() << kProgram << " is not installed; run: make deps";
        return;
    }
    std::filesystem::create_directories(folder_);
    std::array<int, 2> commands{}, answers{};
    if (::pipe2(commands.data(), O_CLOEXEC) != 0 || ::pipe2(answers.data(), O_CLOEXEC) != 0) {
        ADD_FAILURE() << "no pipes";
        return;
    }
    const UniqueFd child_in(commands[0]), child_out(answers[1]);
    to_ = UniqueFd(commands[1]);
    from_ = UniqueFd(answers[0]);
    const UniqueFd log(::open((folder_ + "/log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    pid_ = start({kProgram, "--headless=new",
                  "--no-sandbox", // tests run as root, and it shows nothing but our own page
                  "--remote-debugging-pipe", "--user-data-dir=" + folder_ + "/profile", "--no-first-run",
                  "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                  "--disable-breakpad", "--disable-dev-shm-usage", "--window-size=1440,900", "about:blank"},
                 child_in.get(), child_out.get(), log.get());
    const auto target = command("Target.createTarget", {{"url", "about:blank"}}, false);
    if (!target.contains("targetId")) {
        ADD_FAILURE() << "Chromium did not start: " << std::ifstream(folder_ + "/log").rdbuf();
        return;
    }
    const auto attached =
        command("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}}, false);
    session_ = attached.value("sessionId", "");
    for (const auto* part : {"Page", "Runtime", "Log", "Network", "Performance"}) {
        call(std::string(part) + ".enable");
    }
    call("Emulation.setDeviceMetricsOverride",
         {{"width", 1440}, {"height", 900}, {"deviceScaleFactor", 1}, {"mobile", false}});
}

Chromium::~Chromium() {
    if (pid_ > 0) {
        (void)::kill(-pid_, SIGKILL); // its own session, and ours to end: nothing of it is kept
        (void)::waitpid(pid_, nullptr, 0);
    }
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
}

json Chromium::receive(int timeout_ms) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
        if (const auto end = buffer_.find('\0'); end != std::string::npos) {
            auto message = json::parse(buffer_.substr(0, end), nullptr, false);
            buffer_.erase(0, end + 1);
            return message;
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
        pollfd wanted{from_.get(), POLLIN, 0};
        std::array<char, 65536> bytes{};
        if (left <= 0 || ::poll(&wanted, 1, static_cast<int>(left)) <= 0) {
            return nullptr;
        }
        const auto size = ::read(from_.get(), bytes.data(), bytes.size());
        if (size <= 0) {
            return nullptr; // it is gone
        }
        buffer_.append(bytes.data(), static_cast<std::size_t>(size));
    }
}

void Chromium::note(const json& event) {
    const auto method = event.value("method", "");
    const auto& about = event.contains("params") ? event["params"] : json::object();
    if (method == "Network.requestWillBeSent") {
        requests_.push_back(about["request"]["url"]);
    } else if (method == "Runtime.exceptionThrown") {
        complaints_.push_back("exception: " + about["exceptionDetails"].dump());
    } else if (method == "Log.entryAdded") {
        complaints_.push_back(fmt::format("log, {}: {}", about["entry"].value("level", ""), about["entry"].dump()));
    } else if (method == "Runtime.consoleAPICalled") {
        complaints_.push_back("console: " + text_of(about["args"]));
    }
}

json Chromium::command(const std::string& method, const json& parameters, bool to_page) {
    json message{{"id", ++last_id_}, {"method", method}, {"params", parameters}};
    if (to_page) {
        message["sessionId"] = session_;
    }
    const auto text = message.dump() + '\0';
    if (::write(to_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        ADD_FAILURE() << method << ": Chromium is gone";
        return json::object();
    }
    for (;;) {
        const auto answer = receive(kAnswerMs);
        if (answer.is_null()) {
            ADD_FAILURE() << method << ": Chromium does not answer";
            return json::object();
        }
        if (answer.value("id", 0) != last_id_) {
            note(answer);
            continue;
        }
        if (answer.contains("error")) {
            ADD_FAILURE() << method << ": " << answer["error"].dump();
            return json::object();
        }
        return answer["result"];
    }
}

json Chromium::call(const std::string& method, const json& parameters) {
    return command(method, parameters, true);
}

void Chromium::open(const std::string& address) {
    call("Page.navigate", {{"url", address}});
    EXPECT_TRUE(wait_for("document.readyState === 'complete'", 60)) << address;
}

json Chromium::value(const std::string& expression) {
    const auto answer =
        call("Runtime.evaluate", {{"expression", expression}, {"awaitPromise", true}, {"returnByValue", true}});
    if (answer.contains("exceptionDetails")) {
        ADD_FAILURE() << expression << ": " << answer["exceptionDetails"].dump();
        return nullptr;
    }
    return answer.contains("result") && answer["result"].contains("value") ? answer["result"]["value"] : json();
}

bool Chromium::wait_for(const std::string& expression, int seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (ok()) {
        const auto answer = value("Boolean(" + expression + ")");
        if (answer.is_boolean() && answer.get<bool>()) {
            return true;
        }
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        (void)::poll(nullptr, 0, 100);
    }
    return false;
}

void Chromium::press(const std::string& key) {
    static const std::map<std::string, int> kCodes = {{"Tab", 9},      {"Enter", 13},      {"Escape", 27},
                                                      {"End", 35},     {"Home", 36},       {"ArrowLeft", 37},
                                                      {"ArrowUp", 38}, {"ArrowRight", 39}, {"ArrowDown", 40}};
    json event{{"key", key}, {"code", key}};
    if (const auto code = kCodes.find(key); code != kCodes.end()) {
        event["windowsVirtualKeyCode"] = code->second;
    }
    if (key == "Enter" || key.size() == 1) {
        event["text"] = key == "Enter" ? "\r" : key;
    }
    event["type"] = event.contains("text") ? "keyDown" : "rawKeyDown";
    call("Input.dispatchKeyEvent", event);
    event.erase("text");
    event["type"] = "keyUp";
    call("Input.dispatchKeyEvent", event);
}

void Chromium::click(const std::string& selector) {
    const auto at =
        value(fmt::format("(() => {{ const box = document.querySelector({}).getBoundingClientRect(); return "
                          "{{x: box.x + box.width / 2, y: box.y + box.height / 2}}; }})()",
                          json(selector).dump()));
    if (!at.is_object()) {
        return; // value() has complained
    }
    for (const auto* type : {"mouseMoved", "mousePressed", "mouseReleased"}) {
        call("Input.dispatchMouseEvent",
             {{"type", type}, {"x", at["x"]}, {"y", at["y"]}, {"button", "left"}, {"clickCount", 1}});
    }
}

void Chromium::screenshot(const std::string& path) {
    // Not in the middle of a movement.
    (void)value("Promise.all(document.getAnimations().map((each) => each.finished.catch(() => 0))).then(() => 0)");
    const auto picture = call("Page.captureScreenshot", {{"format", "png"}});
    std::ofstream(path, std::ios::binary) << decoded(picture.value("data", ""));
    std::error_code error;
    EXPECT_GT(std::filesystem::file_size(path, error), 5000U) << path;
}

} // namespace weft::test
