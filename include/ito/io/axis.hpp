// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace ito {

/// One axis of a plot.
struct PlotAxis {
    std::string label = {};
    bool log = false;
    std::optional<double> low = {}, high = {};  // from the data if empty
};

namespace detail {

/// Values to places along an axis: low is at 0, high is at 1.
struct AxisScale {
    double low = 0, high = 1;
    bool log = false;

    bool shows(double v) const { return std::isfinite(v) && (!log || v > 0); }
    double place(double v) const {
        return log ? (std::log(v) - std::log(low)) / (std::log(high) - std::log(low)) : (v - low) / (high - low);
    }
};

/// Gathers the range of the data, and widens it a little where no end was asked for.
class AxisRange {
  public:
    explicit AxisRange(const PlotAxis& axis) : axis_(axis) {}

    bool shows(double v) const { return std::isfinite(v) && (!axis_.log || v > 0); }

    void include(double v) {
        if (!shows(v)) return;
        low_ = std::min(low_, v);
        high_ = std::max(high_, v);
    }

    AxisScale finish() const {
        double low = low_ <= high_ ? low_ : (axis_.log ? 0.1 : 0), high = low_ <= high_ ? high_ : 1;
        const double spread = axis_.log ? std::log(high) - std::log(low) : high - low;
        if (axis_.log) {
            const double margin = spread > 1e-9 ? std::exp(0.04 * spread) : 2;
            low /= margin;
            high *= margin;
        } else {
            const double margin = spread > 1e-12 * std::max(std::abs(low), std::abs(high))
                                      ? 0.04 * spread
                                      : std::max(0.5 * std::abs(high), 1e-6);
            low -= margin;
            high += margin;
        }
        if (axis_.low && shows(*axis_.low)) low = *axis_.low;
        if (axis_.high && shows(*axis_.high)) high = *axis_.high;
        if (axis_.log) low = std::max(low, 1e-300), high = std::min(high, 1e300);
        if (!(low < high)) high = axis_.log ? low * 10 : low + 1;
        return {low, high, axis_.log};
    }

  private:
    const PlotAxis& axis_;
    double low_ = std::numeric_limits<double>::infinity(), high_ = -std::numeric_limits<double>::infinity();
};

struct Tick {
    double value;
    std::string label;  // empty: a faint line only
};

/// "1.5e-4": printf's form without the zeros and the plus in the exponent.
inline std::string short_exponent(const char* format, int decimals, double value) {
    char text[48];
    std::snprintf(text, sizeof text, format, decimals, value);
    std::string result = text;
    const auto e = result.find('e');
    if (e == std::string::npos) return result;
    std::string mantissa = result.substr(0, e);
    if (mantissa.find('.') != std::string::npos) mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
    const bool negative = result[e + 1] == '-';
    result.erase(0, e + 2);
    result.erase(0, std::min(result.find_first_not_of('0'), result.size() - 1));
    return mantissa + (negative ? "e-" : "e") + result;
}

/// "0.25", "1.5k", "2e-5": as short as the step between labels allows.
inline std::string tick_label(double value, double step) {
    if (std::abs(value) < 1e-9 * step) return "0";
    if (step >= 1e9 || step < 1e-3) {
        const double digits = std::floor(std::log10(std::abs(value)) + 1e-9) - std::floor(std::log10(step) + 1e-9);
        return short_exponent("%.*e", std::clamp(static_cast<int>(digits), 0, 15), value);
    }
    const char* suffix = "";
    if (step >= 1e6)
        value /= 1e6, step /= 1e6, suffix = "M";
    else if (step >= 1e3)
        value /= 1e3, step /= 1e3, suffix = "k";
    const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    char text[48];
    std::snprintf(text, sizeof text, "%.*f", decimals, value);
    return std::string(text).append(suffix);
}

/// Round numbers along an axis, about `wanted` of them with labels.
inline std::vector<Tick> axis_ticks(const AxisScale& scale, bool log, double wanted) {
    std::vector<Tick> ticks;
    wanted = std::max(wanted, 2.0);
    const double decades = log ? std::log10(scale.high) - std::log10(scale.low) : 0;
    if (log && decades >= 1) {
        const int every = std::max(1, static_cast<int>(std::ceil(decades / wanted)));
        const int first = static_cast<int>(std::floor(std::log10(scale.low)));
        for (int k = first; k <= first + static_cast<int>(decades) + 1; ++k)
            for (const int digit : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
                const double value = digit * std::pow(10.0, k);
                if (value < scale.low * (1 - 1e-9) || value > scale.high * (1 + 1e-9)) continue;
                const bool labelled =
                    digit == 1 ? k % every == 0 : (digit == 2 || digit == 5) && decades < 2 && wanted > 3;
                const bool plain = value > 0.9e-3 && value < 1.1e4;
                if (labelled)
                    ticks.push_back({value, short_exponent(plain ? "%.*g" : "%.*e", plain ? 6 : 0, value)});
                else if (decades < 5 || digit == 1)
                    ticks.push_back({value, {}});
            }
        return ticks;
    }
    const double rough = (scale.high - scale.low) / wanted, power = std::pow(10.0, std::floor(std::log10(rough)));
    const double step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
    for (double i = std::ceil(scale.low / step - 1e-9); i * step <= scale.high + 1e-9 * step && ticks.size() < 100; ++i)
        ticks.push_back({i * step, tick_label(i * step, step)});
    return ticks;
}

}  // namespace detail

}  // namespace ito
