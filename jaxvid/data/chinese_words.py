"""The Chinese words of every value of a slot, and the sentence forms of ``chinese``.

No word means two values. Words that a reader could take for two are left out: 大红 (a shade of red,
or large and red), 圆圈 (circle or ring), 湖蓝 (cyan or blue), 很快 (fast, or soon).
"""

KINDS = {
    "circle": ("圆形", "圆", "圆点", "圆球", "球", "圆盘"),
    "square": ("正方形", "方块", "方形", "四方形", "盒子"),
    "triangle": ("三角形", "三角形", "三角"),
    "star": ("星星", "五角星", "星形", "星"),
    "diamond": ("菱形", "菱形", "钻石"),
    "cross": ("十字", "十字形", "加号", "十字架"),
    "ring": ("圆环", "环形", "甜甜圈", "环"),
    "heart": ("心形", "爱心", "桃心"),
}
COLORS = {  # a single character stands right before the noun, the others may take 的
    "red": ("红色", "红色", "红", "鲜红色", "火红色"),
    "orange": ("橙色", "橙色", "橘色", "橙"),
    "yellow": ("黄色", "黄色", "黄", "金黄色", "明黄色"),
    "green": ("绿色", "绿色", "绿", "翠绿色", "草绿色"),
    "cyan": ("青色", "青色", "天青色", "绿松石色"),
    "blue": ("蓝色", "蓝色", "蓝", "宝蓝色", "天蓝色"),
    "purple": ("紫色", "紫色", "紫", "紫罗兰色"),
    "pink": ("粉色", "粉色", "粉", "粉红色"),
}
SIZES = {
    "small": ("小", "小", "小小的", "很小的", "迷你的", "小号的"),
    "medium": ("中等大小的", "中号的", "中等的", "不大不小的"),
    "large": ("大", "大", "巨大的", "很大的", "大大的", "大号的"),
}
TONES: dict[str, tuple[str, ...]] = {
    "light": ("浅色", "亮色", "白色", "明亮的"),
    "dark": ("深色", "暗色", "黑色", "昏暗的"),
    "warm": ("暖色", "暖色调", "米色", "沙色"),
    "cool": ("冷色", "冷色调", "灰蓝色", "冷调"),
}
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "kind": KINDS,
    "color": COLORS,
    "size": SIZES,
    "tone": TONES,
}
PATTERNS = {
    "plain": ("纯色", "单色", "素色"),
    "gradient": ("渐变", "渐变色"),
    "grid": ("网格", "方格", "格子", "格纹"),
    "noise": ("噪点", "纹理", "云纹", "颗粒"),
}
UPON = ("背景上", "背景上", "背景前", "背景下")
IS, BECOMES = ("背景是", "背景为"), ("背景变成", "背景换成")
SHAPES = ("图形", "东西", "物体")  # a look that states no kind
IDLE = ("简单的", "可爱的", "漂亮的", "普通的", "好看的")  # adjectives that state nothing
MEASURES = {  # measure words beside 个
    "圆球": ("个", "颗"),
    "方块": ("个", "块"),
    "盒子": ("个", "只"),
    "星星": ("颗", "颗", "个"),
    "五角星": ("颗", "个"),
    "星": ("颗",),
    "爱心": ("颗", "个"),
    "桃心": ("颗", "个"),
    "钻石": ("颗",),
    "圆环": ("个", "枚"),
}
SIZE_ALONE = {"small": "小的", "medium": "中等大小的", "large": "大的"}  # "the small one"
NUMBERS = ("一", "二", "三")

WAYS = {
    "right": ("右", "右", "右边", "右侧"),
    "left": ("左", "左", "左边", "左侧"),
    "up": ("上", "上", "上方"),
    "down": ("下", "下", "下方"),
    "up_right": ("右上", "右上方", "右上角"),
    "up_left": ("左上", "左上方", "左上角"),
    "down_right": ("右下", "右下方", "右下角"),
    "down_left": ("左下", "左下方", "左下角"),
}
TO_WAY = ("向", "向", "往", "朝")
GO = ("移动", "移动", "移动", "滑动", "运动", "走", "飘", "移", "飞", "跑")
ACTS = {  # without a way or beside it
    "right": ("右移", "从左到右移动", "从左往右走"),
    "left": ("左移", "从右到左移动", "从右往左走"),
    "up": ("上升", "升高", "往上升", "从下往上移动"),
    "down": ("下降", "下落", "往下落", "从上往下移动"),
    "up_right": ("斜着向右上移动", "飘向右上角"),
    "up_left": ("斜着向左上移动", "飘向左上角"),
    "down_right": ("斜着向右下移动", "滑向右下角"),
    "down_left": ("斜着向左下移动", "滑向左下角"),
    "bounce": ("弹跳", "弹跳", "上下跳动", "蹦蹦跳跳", "跳来跳去", "弹来弹去", "一蹦一跳"),
    "orbit": ("转圈", "绕圈", "绕圈移动", "做圆周运动", "绕着圈走", "兜圈子"),
    "zoom_in": ("变大", "变大", "放大", "长大"),
    "zoom_out": ("变小", "变小", "缩小", "收缩"),
    "still": ("静止不动", "一动不动", "停在原地", "保持不动", "原地不动"),
}
STEADY = {
    "zoom_in": ("越来越大", "逐渐变大"),
    "zoom_out": ("越来越小", "逐渐变小"),
}  # no speed beside
THENS = {  # what differs in the second half
    "still": ("停下", "停下来", "停住", "静止不动", "停住不动"),
    "gone": ("消失", "消失不见", "离开画面", "从画面中消失", "不见了"),
}
MOVES = ("移动", "动来动去", "活动")  # some motion; which, is not said
WAKES = ("动起来", "动一动", "动一会儿")  # the same of a picture
TO_OTHER = {  # O is the other one
    "towards": ("朝O移动", "向O靠近", "靠近O", "朝O走去", "走向O", "移向O"),
    "away": ("远离O", "躲开O", "逃离O", "避开O", "朝远离O的方向移动"),
}
MUTUAL = {
    "towards": ("互相靠近", "相向移动", "朝对方移动", "彼此靠近"),
    "away": ("互相远离", "彼此远离", "背向移动", "互相躲开"),
}
SPEEDS = {
    "slow": ("慢慢地", "慢慢", "缓缓地", "缓慢地", "慢悠悠地", "轻轻地"),
    "fast": ("快速地", "快速", "飞快地", "迅速地", "迅速", "高速"),
}
PACES = {  # behind the verb
    "slow": ("速度很慢", "动作缓慢", "慢慢的"),
    "fast": ("速度很快", "动作飞快", "快快的"),
}
PLACES = {  # x, y
    ("left", "any"): ("左边", "左侧", "左半边"),
    ("right", "any"): ("右边", "右侧", "右半边"),
    ("center", "any"): ("左右居中的位置", "横向居中的位置"),
    ("any", "top"): ("上方", "顶部", "顶端"),
    ("any", "bottom"): ("下方", "底部", "底端"),
    ("any", "center"): ("上下居中的位置", "高度居中的位置"),
    ("left", "top"): ("左上角", "左上方"),
    ("right", "top"): ("右上角", "右上方"),
    ("left", "bottom"): ("左下角", "左下方"),
    ("right", "bottom"): ("右下角", "右下方"),
    ("left", "center"): ("左侧中间", "左边中部"),
    ("right", "center"): ("右侧中间", "右边中部"),
    ("center", "top"): ("顶部中间", "上方正中"),
    ("center", "bottom"): ("底部中间", "下方正中"),
    ("center", "center"): ("中间", "中央", "正中央", "正中间", "中心"),
}
DEPTHS = {"behind": ("后面", "后方", "背后", "后边"), "front": ("前面", "前方", "前边")}
SIDES = {
    "left": ("左边", "左侧", "左面"),
    "right": ("右边", "右侧", "右面"),
    "above": ("上方", "上面", "上边"),
    "below": ("下方", "下面", "下边"),
}
CORNERS = {  # side and depth in one word
    ("left", "behind"): "左后方",
    ("right", "behind"): "右后方",
    ("above", "behind"): "后上方",
    ("below", "behind"): "后下方",
    ("left", "front"): "左前方",
    ("right", "front"): "右前方",
    ("above", "front"): "前上方",
    ("below", "front"): "前下方",
}
OPPOSITE = {
    "behind": "front",
    "front": "behind",
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "any": "any",
}
LENSES = ("镜头", "镜头", "镜头", "摄像机", "相机")
CAMERAS = {
    "pan_left": ("向左摇", "左摇", "向左平移", "往左移", "左移"),
    "pan_right": ("向右摇", "右摇", "向右平移", "往右移", "右移"),
    "pan_up": ("向上摇", "上摇", "向上平移", "往上移", "上移"),
    "pan_down": ("向下摇", "下摇", "向下平移", "往下移", "下移"),
    "zoom_in": ("推近", "拉近", "推进", "向前推"),
    "zoom_out": ("拉远", "向后拉", "后退", "往后拉"),
}
LINKS = {
    "cut": ("切换到", "切换到", "切到", "转到", "转场到"),
    "fade": ("淡入到", "淡入", "淡化到", "叠化到", "用淡入淡出转到"),
    "wipe": ("擦除切换到", "擦除到", "擦除转场到", "划像到", "用划像转场到"),
}
SHOTS = ("第{}个镜头", "第{}个镜头", "第{}幕", "第{}个画面")
LABELS = (*SHOTS, "镜头{}", "镜头{}", "场景{}")  # of numbered shots

# Sentence forms; what the letters stand for is told in ``chinese``.
# The last quarter of a list of four or more is held out of training.
# One part: of a new look that moves, that does not; of a known look; of one in a picture.
NEW = (
    *("NPV", "NPV", "UPV", "L有U,NV", "L有UHV", "LM", "L有M", "L有Z,NV", "可以看到UPV", "LUV"),
    *("N,PV", "LUHV", "画面里有U,NPV", "LZ,NV"),
)
NEW_STATIC = ("UP", "L有U", "有UP", "L有Z", "可以看到UP", "LZ")
KNOWN = ("NPV", "NPV", "NPV", "可以看到NPV", "只见NPV")
KNOWN_STATIC = ("还是NP", "又是NP", "再看NP", "只有NP")
PICTURE = ("NV", "NV", "让NV", "让NV", "请让NV", "NV", "我想让NV", "使NV")
# Two parts that do the same: two alike; two others, new or known; one like the other.
ALIKE = ("DPV", "DPAV", "L有D,它们V", "L有DV", "L有E", "DPAV", "L有D,它们AV", "LE")
ALIKE_STATIC = ("DP", "L有D", "有DP", "可以看到DP")
BOTH_NEW = ("JPAV", "JPAV", "L有J,它们V", "可以看到JPV", "JPV", "L有J,它们AV")
BOTH_NEW_STATIC = ("JP", "L有J", "有JP", "可以看到JP")
BOTH = ("JPAV", "JPAV", "JPV", "只见JPAV")
BOTH_STATIC = ("还是JP", "又是JP", "再看JP", "只有JP")
ALSO = ("NPV,n也pv", "UPV,u也pv", "NPV,同时n也pv", "只见NPV,n也pv")
# Two parts that differ: two alike, two new, any.
ONE_OTHER = (
    *("D,一个PV,另一个pv", "有D,一个PV,另一个pv", "D,其中一个PV,另一个pv"),
    "画面里有D,一个PV,另一个pv",
)
TWO_NEW = (
    *("X,x", "X,x", "X,同时x", "X,与此同时,x", "UPV,upv", "有J,NPV,npv", "J,NPV,npv"),
    *("L有M,l还有m", "UPV,同时upv", "X,而x", "画面里有J,NPV,npv", "LM,lm"),
)
TWO = ("X,x", "X,同时x", "X,x", "NPV,npv", "X,与此同时,x", "X,而x")
# The first part is related to the second, or goes to it; and the relation seen from the second.
RELATED_NEW = ("UPRVq", "UPRVq", "有UPRVq", "NPRVq", "J,NPRVq", "画面里有J,NPRVq")
RELATED = ("NPRVq", "NPRVq", "可以看到NPRVq", "只见NPRVq")
INVERSE = ("NPV,uprv", "UPV,uprv", "NPV,同时uprv", "NPV,而uprv")
# What happens then; a shot with a background, with a moving camera, with both.
THEN = (
    *("F,然后T", "F,然后T", "F,接着T", "先F,再T", "先F,然后T", "F,随后T", "F之后T", "F,最后T"),
    *("F然后T", "先F,接着T", "F,之后T", "先F,最后T"),
)
BACKGROUND = ("W,B", "I", "G,W", "I", "GW", "W,B", "B,W")
CAMERA = ("W,K", "W,K", "K,W", "W,同时K", "随着K,W", "W,与此同时K")
SCENERY = ("G,W,K", "I,K", "W,B,K", "K,GW", "W,K,B", "I,同时K", "随着K,G,W", "B,W,K")
# To the next shot: said to be one, with a transition, to a subject; said by its new subject alone.
CUT = (
    *("C下一个镜头:S", "下一个镜头:S", "Y:S", "下一幕:S", "C下一个画面:S", "接下来的镜头里,S"),
    *("画面一转,S", "Y里,S", "C另一个画面:S", "下一个画面:S"),
)
SHIFT = ("C下一个镜头:S", "C下一个画面:S", "CY:S", "C下一幕:S", "接着C下一个镜头:S")
SUBJECT = ("CU,S", "画面CU,S", "再CU,S", "随后CU,S")
NEXT = ("然后S", "接着,S", "随后,S", "接下来,S", "之后,S", "然后,S", "随后S", "接着S")
FIRST = ("S", "S", "S", "首先,S", "一开始,S", "开头,S")
# The whole text as a request: any text, one that begins with a noun, one that is a single clause.
ASK = (
    *("请生成一个视频:S", "帮我做一个视频:S", "我想看这样的画面:S", "做一段动画:S", "生成视频:S"),
    *(
        "请做一个动画,内容是:S",
        "视频里,S",
        "给我一段视频:S",
        "帮我生成一段动画:S",
        "请做一段视频:S",
    ),
)
ASK_NOUN = (
    *(
        "我想看S",
        "给我看S",
        "请展示S",
        "想看S",
        "我想看到S",
        "让我看看S",
        "请给我展示S",
        "展示一下S",
    ),
)
ASK_CLAUSE = (
    *("S的视频", "S的动画", "请生成S的视频", "帮我做S的动画", "S的短片", "我想要S的视频"),
)
ASK_PICTURE = (
    *("把这张图变成视频:S", "根据这张图片:S", "图片里,S", "让图片动起来:S", "用这张图做动画:S"),
    *("根据这张图做视频:S", "把图片变成动画:S"),
)
TAILS = (",谢谢", ",简单一点就好", ",给我女儿看的", ",给孩子看")
MARKS = (",。:;", ",。:;", ",。:;", ",.:;")
