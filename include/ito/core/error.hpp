// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>

namespace ito {

/// Base of everything that ito throws on purpose. The text is one line, meant to be shown as it is.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Two shapes do not fit; the text names the tensor and both shapes.
struct ShapeError : Error {
    using Error::Error;
};

/// A value given by the caller is outside its range.
struct ArgumentError : Error {
    using Error::Error;
};

/// A file cannot be read or written; the text names the file, the offset where it matters, and the reason.
struct FileError : Error {
    using Error::Error;
};

/// A configuration contradicts itself or names something that ito does not have.
struct ConfigError : Error {
    using Error::Error;
};

/// A loss or an activation is no longer a finite number.
struct NumericError : Error {
    using Error::Error;
};

/// More memory is needed than there is; the text says how much.
struct MemoryError : Error {
    using Error::Error;
};

/// The caller asked to stop; whatever state it holds is complete and can be continued.
struct Cancelled : Error {
    using Error::Error;
};

}  // namespace ito
