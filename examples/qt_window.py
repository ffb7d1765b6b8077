"""What this shows: a Qt window that answers while an image is upscaled, with a progress bar and a Cancel button.

    python examples/qt_window.py photo.jpg --model vdsr --scale 2

The work has a thread of its own. Progress is a signal, which Qt carries over to the window's thread. Cancel makes the
progress callback raise an exception, which ends the work after the current patch.
"""

import argparse
import sys

from PIL.Image import Image
from PIL.ImageQt import toqpixmap
from PySide6.QtCore import QThread, Signal
from PySide6.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

import pysr


class Cancelled(Exception):
    """The user presses Cancel."""


class Work(QThread):
    progressed = Signal(int, int)
    made = Signal(object)  # the result, a PIL image
    stopped = Signal(str)  # why there is none

    def __init__(self, path: str, model: str, scale: int) -> None:
        super().__init__()
        self.path, self.model, self.scale = path, model, scale

    def run(self) -> None:
        try:
            self.made.emit(pysr.load(self.model, self.scale).upscale(self.path, progress=self.report))
        except Cancelled:
            self.stopped.emit("cancelled")
        except pysr.PysrError as error:
            self.stopped.emit(str(error))

    def report(self, done: int, total: int) -> None:
        if self.isInterruptionRequested():
            raise Cancelled
        self.progressed.emit(done, total)


class Window(QWidget):
    def __init__(self, work: Work) -> None:
        super().__init__(windowTitle=f"{work.path} x{work.scale}")
        self.work, self.result = work, None
        self.label, self.bar, self.cancel = QLabel("Working ..."), QProgressBar(), QPushButton("Cancel")
        rows = QVBoxLayout(self)
        for widget in (self.label, self.bar, self.cancel):
            rows.addWidget(widget)
        work.progressed.connect(lambda done, total: (self.bar.setMaximum(total), self.bar.setValue(done)))
        work.made.connect(self.show_result)
        work.stopped.connect(self.label.setText)
        work.finished.connect(lambda: self.cancel.setEnabled(False))
        self.cancel.clicked.connect(work.requestInterruption)

    def show_result(self, image: Image) -> None:
        self.result = image
        self.label.setPixmap(toqpixmap(image))

    def closeEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        self.work.requestInterruption()
        self.work.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    app = QApplication()
    window = Window(Work(options.image, options.model, options.scale))
    window.show()
    window.work.start()
    sys.exit(app.exec())
