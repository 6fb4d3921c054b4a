package main

import (
	"errors"
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	all *mpb.Progress
	bar *mpb.Bar
}

func (b *progress) start(w io.Writer, total int) {
	if l, ok := w.(*lineWriter); ok {
		w = l.w
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return
	}
	b.all = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
	b.bar = b.all.AddBar(int64(total),
		mpb.PrependDecorators(decor.CountersNoUnit("%d of %d rows ")),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s "), decor.AverageETA(decor.ET_STYLE_GO)))
}

func (b *progress) step() {
	if b.bar != nil {
		b.bar.Increment()
	}
}

// out is where lines go that must stand above the bar.
func (b *progress) out(w io.Writer) io.Writer {
	if b.all != nil {
		return aboveBar{b.all, w}
	}
	return w
}

// aboveBar writes above the bar, and where the bar was once that has ended.
type aboveBar struct{ bar, plain io.Writer }

func (a aboveBar) Write(line []byte) (int, error) {
	n, err := a.bar.Write(line)
	if _, ended := errors.AsType[mpb.ErrDone[*mpb.Progress]](err); ended {
		return a.plain.Write(line)
	}
	return n, err
}

func (b *progress) finish() {
	if b.bar != nil {
		b.bar.Abort(false) // a finished bar stays as it is
		b.all.Wait()
	}
}
