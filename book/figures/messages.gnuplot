# The lines of messages.txt: messages of 64 B by connections, and one connection by size.
set terminal svg size 900,420 font "sans-serif,13" noenhanced
set multiplot layout 1,2 margins 0.07,0.98,0.1,0.9 spacing 0.1,0
set logscale xy
set grid ytics linecolor "#cccccc"
set border 3
set tics nomirror
tools = "raw-staged raw-writev raw-send zeromq nng xport-threads xport"
colours = "#999999 #777777 #555555 #2f6f44 #8a4b08 #82b4ee #0b5394"
rows(tool, size, connections, x, y) = sprintf( \
	"< awk '{ gsub(\",\", \"\") } $4 == \"%s\" && (\"%s\" == \"\" || $1 $2 == \"%s\") && \
	(\"%s\" == \"\" || $3 == \"%s\") { bytes = $1 * ($2 == \"KiB\" ? 1024 : $2 == \"MiB\" ? 1048576 : 1); \
	print %s, %s }' book/figures/messages.txt", tool, size, size, connections, connections, x, y)

unset key
set title "messages of 64 B a second, by connections"
set xtics ("1" 1, "16" 16, "128" 128, "1,000" 1000)
set format y "%.0s%c"
plot for [i=1:words(tools)] rows(word(tools, i), "64B", "", "$3", "$5") \
	with linespoints linewidth (i == words(tools) ? 3 : 1.5) pointtype 7 pointsize 0.5 \
	linecolor rgb word(colours, i)

set title "bytes a second on one connection, by size"
set xtics ("64 B" 64, "1 KiB" 1024, "64 KiB" 65536, "1 MiB" 1048576)
set xrange [48:1400000]
set key bottom right samplen 2
plot for [i=1:words(tools)] rows(word(tools, i), "", "1", "bytes", "$8 * 1000000") \
	title word(tools, i) with linespoints linewidth (i == words(tools) ? 3 : 1.5) pointtype 7 pointsize 0.5 \
	linecolor rgb word(colours, i)
