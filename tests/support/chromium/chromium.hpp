// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A real Chromium without a window, driven through its own protocol over two pipes: no port, no driver, no library.
// What it complains of (console, exceptions, content security policy) and what it asks for is kept.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "weft/base/unique_fd.hpp"

namespace weft::test {

class Chromium {
public:
    /// Starts it with one empty page; `folder` (made, and removed again) holds its profile. A failure is reported to
    /// GoogleTest, with the remedy when Chromium is not installed; ok() is false then.
    explicit Chromium(std::string folder);
    ~Chromium();
    Chromium(const Chromium&) = delete;
    Chromium& operator=(const Chromium&) = delete;
    [[nodiscard]] bool ok() const { return !session_.empty(); }

    /// One command of the protocol, to the page; its result.
    nlohmann::json call(const std::string& method, const nlohmann::json& parameters = nlohmann::json::object());
    /// Goes to an address and waits until all that the page itself names is there.
    void open(const std::string& address);
    /// Value of a JavaScript expression; a promise is waited for. An exception is a failure of the test.
    nlohmann::json value(const std::string& expression);
    /// Asks until the expression is true; false when `seconds` are over.
    bool wait_for(const std::string& expression, int seconds = 30);
    /// Presses and releases a key as a keyboard does: "Tab", "Enter", "Escape", "ArrowRight", "a".
    void press(const std::string& key);
    /// Moves the mouse to the middle of the first element of this selector and clicks.
    void click(const std::string& selector);
    /// The page as PNG.
    void screenshot(const std::string& path);

    /// Errors and warnings that the page caused, each with where it came from.
    [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }
    /// Every address that the page asked for.
    [[nodiscard]] const std::vector<std::string>& requests() const { return requests_; }

private:
    nlohmann::json command(const std::string& method, const nlohmann::json& parameters, bool to_page);
    nlohmann::json receive(int timeout_ms);
    void note(const nlohmann::json& event);

    std::string folder_;
    pid_t pid_ = -1;
    UniqueFd to_, from_;
    std::string buffer_, session_;
    int last_id_ = 0;
    std::vector<std::string> complaints_, requests_;
};

} // namespace weft::test
