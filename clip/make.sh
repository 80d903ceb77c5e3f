#!/bin/sh
# Renders the built-in test clip into clip/media: four seconds that loop without a seam.
#
# Needs ffmpeg (5.1 or later) with libvpx, libx264, libopus and freetype, and the DejaVu fonts.
# The files are committed; run this only to change what the clip shows. The geometry of the
# binary clock below is repeated as constants in doc.go.
set -eu
cd "$(dirname "$0")"

fonts=${FONTS:-/usr/share/fonts/truetype/dejavu}
mono=$fonts/DejaVuSansMono-Bold.ttf
sans=$fonts/DejaVuSans-Bold.ttf
book=$fonts/DejaVuSans.ttf

frames=120 # 4 s at 30 frames per second
bg=0x0E1318
track=0x1F2A33
ink=0xF2F6F8
muted=0x8A9AA6
accent=0x2EE6C5

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p media

# --- picture -----------------------------------------------------------------------------------

# The clock counts milliseconds of the loop: frame n begins at n/30 s.
clock="%{eif\:floor(n/30)\:d\:2}.%{eif\:mod(floor(n*1000/30)\,1000)\:d\:3}"
head="color=$bg:s=640x360:r=30:d=4,format=yuv444p"
head="$head,drawtext=fontfile=$sans:text=Rheomesh:x=48:y=38:fontsize=30:fontcolor=$ink"
head="$head,drawtext=fontfile=$book:text='built-in test clip':x=w-48-tw:y=45:fontsize=18:fontcolor=$muted"
head="$head,drawbox=x=48:y=84:w=544:h=2:color=$track:t=fill"
head="$head,drawtext=fontfile=$mono:text='$clock':x=40:y=106:fontsize=124:fontcolor=$ink"
head="$head,drawtext=fontfile=$mono:text='frame %{eif\:n\:d\:3} of $frames':x=48:y=222:fontsize=22:fontcolor=$muted"
# The lamp is lit for the first 100 ms of each second, together with the click.
head="$head,drawbox=x=528:y=220:w=64:h=22:color=$track:t=fill"
head="$head,drawbox=x=528:y=220:w=64:h=22:color=$accent:t=fill:enable='lt(mod(n,30),3)'"

# The binary clock: ten cells of 40x40 with a pitch of 56, from (48,300). White marker, seven bits of
# the frame number with the most significant first, a bit that makes the number of ones even, black marker.
cell() { # index, condition that makes it white
	x=$((48 + 56 * $1))
	printf ',drawbox=x=%d:y=300:w=40:h=40:color=white:t=fill:enable='"'%s'" "$x" "$2"
}
cells=",drawbox=x=40:y=292:w=560:h=56:color=black:t=fill"
cells="$cells$(cell 0 1)"
parity=0
for bit in 6 5 4 3 2 1 0; do
	value="mod(floor(n/$((1 << bit))),2)"
	cells="$cells$(cell $((7 - bit)) "$value")"
	parity="$parity+$value"
done
cells="$cells$(cell 8 "mod($parity,2)")"

# The moving bar: a comet that goes round once in the four seconds, so that the wrap has no jump.
comet="color=$track:s=544x8:r=30:d=4,format=gbrp"
comet="$comet,geq=r='lerp(31,46,pow(X/543,3))':g='lerp(42,230,pow(X/543,3))':b='lerp(51,197,pow(X/543,3))'"
comet="$comet,scroll=horizontal=-1/$frames,format=yuv444p"

ffmpeg -v error -y -filter_complex \
	"$head$cells[card];$comet[comet];[card][comet]overlay=x=48:y=264:format=yuv444,format=yuv420p" \
	-frames:v $frames -c:v ffv1 "$work/master.mkv"

plain="-an -map_metadata -1 -fflags +bitexact -flags +bitexact"

vp8() { # width, height, bit rate, worst quantizer
	# shellcheck disable=SC2086
	ffmpeg -v error -y -i "$work/master.mkv" -vf "scale=$1:$2:flags=lanczos" $plain \
		-c:v libvpx -deadline best -cpu-used 0 -threads 1 -lag-in-frames 0 -auto-alt-ref 0 \
		-b:v "$3" -crf 10 -qmin 4 -qmax "$4" -g 30 -force_key_frames 'expr:eq(mod(n,30),0)' "media/$2.ivf"
}
vp8 640 360 400k 36
vp8 320 180 150k 36
vp8 160 90 60k 36

# Constrained baseline; parameter sets before each key frame; without the encoder's own SEI.
# shellcheck disable=SC2086
ffmpeg -v error -y -i "$work/master.mkv" $plain -c:v libx264 -preset veryslow -profile:v baseline -level:v 3.1 \
	-crf 24 -bf 0 -threads 1 -x264-params keyint=30:min-keyint=30:scenecut=0:ref=1:repeat-headers=1:annexb=1 \
	-bsf:v filter_units=remove_types=6 -f h264 media/360.h264

# --- sound -------------------------------------------------------------------------------------

# A quiet fifth, and a click at the start of each second. Every period divides the four seconds; three
# rounds are encoded and the middle one kept, so the coder's state at the seam is that of the loop.
tone='0.02*sin(2*PI*220*t)*(0.8+0.2*sin(2*PI*0.25*t))+0.012*sin(2*PI*330*t)'
click='0.12*sin(2*PI*1000*t)*exp(-90*mod(t,1))'
# shellcheck disable=SC2086
ffmpeg -v error -y -f lavfi -i "aevalsrc=exprs='$tone+$click|$tone+$click':s=48000:d=12" \
	-c:a libopus -b:a 32k -vbr on -frame_duration 20 -application audio -page_duration 20000 "$work/three.ogg"
ffmpeg -v error -y -ss 4 -i "$work/three.ogg" -map_metadata -1 -fflags +bitexact -c copy -frames:a 200 \
	-page_duration 20000 media/tone.ogg

# --- check -------------------------------------------------------------------------------------

# Reads the binary clock back: the strip of cells is shrunk to ten grey pixels a frame, and each row of
# ten must spell the number of its frame.
check_clock() { # file
	ffmpeg -v error -i "$1" -vf 'scale=640:360,crop=560:24:40:308,scale=10:1:flags=area,format=gray' -f rawvideo - |
		od -An -v -tu1 -w10 | awk -v file="$1" '
			function lit(i) { return $i > 110 }
			{
				value = 0
				ones = lit(9)
				for (i = 2; i <= 8; i++) { value = 2 * value + lit(i); ones += lit(i) }
				if (!lit(1) || lit(10) || ones % 2 || value != NR - 1) {
					print file ": frame " NR - 1 " shows " value > "/dev/stderr"
					exit 1
				}
			}
			END { if (NR != '"$frames"') { print file ": " NR " frames" > "/dev/stderr"; exit 1 } }'
}

for file in media/*; do
	ffmpeg -v error -xerror -i "$file" -f null - # every file decodes without a complaint
	case $file in *.ogg) ;; *) check_clock "$file" ;; esac
	printf '%8d %s\n' "$(wc -c <"$file")" "$file"
done
